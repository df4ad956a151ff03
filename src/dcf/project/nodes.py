"""Nodes of a YAML tree: their kinds, the entries of mappings, and problems with their positions.

Not here: reading files, the meaning of the keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yaml import MappingNode, Node, ScalarNode, SequenceNode

from dcf.errors import ConfigError, Problem

TAG = "tag:yaml.org,2002:"
"""Prefix of the tags that YAML itself defines."""

_SCALARS = {
    **{tag: tag for tag in ("str", "int", "float", "bool", "null")},
    "timestamp": "time",
    # A lone '=' or '<<' as a value has a special meaning only in YAML 1.1.
    "value": "str",
    "merge": "str",
}


class ProblemCollector:
    """Collects the problems of one file, so that all are reported at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problems: set[Problem] = set()

    def add(self, place: Node, message: str) -> None:
        """Add a problem at the start of ``place``.

        A problem that several aliases repeat is added once.
        """
        mark = place.start_mark
        self._problems.add(Problem(mark.line + 1, mark.column + 1, message))

    def check(self) -> None:
        """Raise the problems in the file's order.

        Raises:
            ConfigError: If there are any.
        """
        if self._problems:
            raise ConfigError(
                self.path,
                sorted(self._problems, key=lambda item: (item.line, item.column, item.message)),
            )


def kind_of(node: Node) -> str:
    """Return the kind of a node.

    Returns:
        ``map``, ``seq``, ``str``, ``int``, ``float``, ``bool``, ``null`` or ``time``; ``tag`` for a
        custom tag, which has no meaning here.
    """
    tag = node.tag.removeprefix(TAG)
    if isinstance(node, MappingNode):
        return "map" if tag == "map" else "tag"
    if isinstance(node, SequenceNode):
        return "seq" if tag == "seq" else "tag"
    return _SCALARS.get(tag, "tag")


def is_unset(node: Node) -> bool:
    """Return whether the value is unset: null or an empty text."""
    return kind_of(node) == "null" or (kind_of(node) == "str" and not node.value)


_SORTS = {
    "map": "a mapping",
    "seq": "a list",
    "null": "nothing",
    "tag": "a tag",
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "time": "a date",
}


def sort_of(node: Node) -> str:
    """Return the kind of ``node`` in words that do not show its content."""
    return _SORTS[kind_of(node)]


def shown(node: Node) -> str:
    """Return ``node`` in words for a message."""
    kind = kind_of(node)
    if kind == "tag":
        return f"the tag {node.tag.replace(TAG, '!!')!r}"
    if kind in {"map", "seq", "null"}:
        return sort_of(node)
    text = node.value if len(node.value) <= 60 else node.value[:57] + "..."  # noqa: PLR2004  a line
    return repr(text) if kind == "str" else f"the {sort_of(node).removeprefix('a ')} {text}"


@dataclass(frozen=True, slots=True)
class MappingEntry:
    """An entry of a mapping. Its key is the text in the file, even if YAML reads it as a number."""

    key: str
    key_node: Node
    value: Node


def entries(node: MappingNode, problems: ProblemCollector) -> list[MappingEntry]:
    """Return the mapping's own entries, then those of its merge keys (``<<``).

    A duplicate key, or a key that is not a scalar, is added to ``problems`` and left out.
    """
    own: dict[str, MappingEntry] = {}
    merged: list[MappingEntry] = []
    for key, value in node.value:
        if key.tag == TAG + "merge":
            merged.extend(_merged(value, problems))
        elif not isinstance(key, ScalarNode) or kind_of(key) == "tag":
            problems.add(key, f"expected text as a key, got {shown(key)}")
        elif key.value in own:
            line = own[key.value].key_node.start_mark.line + 1
            problems.add(key, f"duplicate key {key.value!r}, first in line {line}")
        else:
            own[key.value] = MappingEntry(key.value, key, value)
    for entry in merged:
        own.setdefault(entry.key, entry)
    return list(own.values())


def _merged(value: Node, problems: ProblemCollector) -> Iterator[MappingEntry]:
    sources = value.value if isinstance(value, SequenceNode) else [value]
    for source in sources:
        if isinstance(source, MappingNode):
            yield from entries(source, problems)
        else:
            problems.add(source, f"expected a mapping after '<<', got {shown(source)}")
