"""What stands at a node of a YAML tree, and the problems found there.

Here: kinds of nodes, mappings as entries, problems with their places. Not here: reading files, what
the keys mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yaml import MappingNode, Node, ScalarNode, SequenceNode

from dcf.errors import ConfigError, Problem

TAG = "tag:yaml.org,2002:"
"""In front of the tags that YAML itself defines."""

_SCALARS = {
    **{tag: tag for tag in ("str", "int", "float", "bool", "null")},
    "timestamp": "time",
    # A lone '=' or '<<' that is no key: a text to everyone but YAML 1.1.
    "value": "str",
    "merge": "str",
}


class Faults:
    """The problems of one file, gathered until all of it was looked at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problems: set[Problem] = set()

    def add(self, place: Node, message: str) -> None:
        """Notes a problem at the start of ``place``.

        What an alias brings in several times is one problem at one place, and noted once.
        """
        mark = place.start_mark
        self._problems.add(Problem(mark.line + 1, mark.column + 1, message))

    def check(self) -> None:
        """Raises what was noted, in the file's order.

        Raises:
            ConfigError: When anything was.
        """
        if self._problems:
            by_place = sorted(self._problems, key=lambda one: (one.line, one.column, one.message))
            raise ConfigError(self.path, by_place)


def kind_of(node: Node) -> str:
    """``map``, ``seq``, or a scalar's ``str``, ``int``, ``float``, ``bool``, ``null``, ``time``.

    Anything with a tag of its own is ``tag``: it asks for a meaning that nothing here has.
    """
    tag = node.tag.removeprefix(TAG)
    if isinstance(node, MappingNode):
        return "map" if tag == "map" else "tag"
    if isinstance(node, SequenceNode):
        return "seq" if tag == "seq" else "tag"
    return _SCALARS.get(tag, "tag")


def is_unset(node: Node) -> bool:
    """Whether it is null or an empty text, the two ways to leave a value unset."""
    return kind_of(node) == "null" or (kind_of(node) == "str" and not node.value)


_SORTS = {
    "map": "a mapping",
    "seq": "a list",
    "null": "nothing",
    "tag": "a tag",
    "str": "a text",
    "int": "a number",
    "float": "a number",
    "bool": "a truth value",
    "time": "a date",
}


def sort_of(node: Node) -> str:
    """The sort of thing that stands at ``node``, in words that show nothing of it."""
    return _SORTS[kind_of(node)]


def found(node: Node) -> str:
    """What stands at ``node``, in words for a message."""
    kind = kind_of(node)
    if kind == "tag":
        return f"the tag {node.tag.replace(TAG, '!!')!r}"
    if kind in {"map", "seq", "null"}:
        return sort_of(node)
    text = node.value if len(node.value) <= 60 else node.value[:57] + "..."  # noqa: PLR2004  a line
    return repr(text) if kind == "str" else f"the {sort_of(node).removeprefix('a ')} {text}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a mapping; its key is the text as written, also where YAML sees a number."""

    key: str
    key_node: Node
    value: Node


def entries(node: MappingNode, faults: Faults) -> list[Entry]:
    """The mapping's entries, merge keys (``<<``) followed, the mapping's own ones first.

    A key given twice, or that is no plain scalar, is noted in ``faults`` and left out.
    """
    own: dict[str, Entry] = {}
    merged: list[Entry] = []
    for key, value in node.value:
        if key.tag == TAG + "merge":
            merged.extend(_merged(value, faults))
        elif not isinstance(key, ScalarNode) or kind_of(key) == "tag":
            faults.add(key, f"{found(key)} found as a key, a text is wanted")
        elif key.value in own:
            line = own[key.value].key_node.start_mark.line + 1
            faults.add(key, f"{key.value!r} stands here twice, first in line {line}")
        else:
            own[key.value] = Entry(key.value, key, value)
    for entry in merged:
        own.setdefault(entry.key, entry)
    return list(own.values())


def _merged(value: Node, faults: Faults) -> Iterator[Entry]:
    sources = value.value if isinstance(value, SequenceNode) else [value]
    for source in sources:
        if isinstance(source, MappingNode):
            yield from entries(source, faults)
        else:
            faults.add(source, f"{found(source)} found after '<<', a mapping is wanted")
