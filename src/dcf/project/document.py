"""A YAML file as a tree of nodes that still know their places.

Here: reading, and the limits that keep a hostile file harmless. Not here: what the nodes mean.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml import Node
from yaml.reader import Reader

from dcf.errors import ConfigError, Problem

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it: about ten times as fast."""

MAX_BYTES = 1024**2
"""Of a file. Settings written by hand have a few kilobytes; a model passed by mistake has more."""
MAX_DEPTH = 20
"""Levels, aliases followed. The format needs five, and libyaml's composer, which recurses in C,
ends the process instead of raising when a file has very many."""
_TOO_DEEP = f"nested deeper than the {MAX_DEPTH} levels that are read"
MAX_VALUES = 100_000
"""Of a file with all its aliases written out, so that a few lines cannot grow to gigabytes."""


def read_text(path: Path) -> str:
    """The file's text, a byte order mark left out.

    Raises:
        ConfigError: When it is missing, no file, too large, not to be read or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unlocated(path, "there is no such file") from None
    except IsADirectoryError:
        raise _unlocated(path, "this is a folder, a file is wanted") from None
    except OSError as error:
        raise _unlocated(path, f"it cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise _unlocated(path, f"it is larger than {MAX_BYTES} bytes, the most that is read")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        data = error.object
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        message = f"byte 0x{data[error.start]:02x} found, UTF-8 is wanted"
        raise ConfigError(path, [Problem(line, column, message)]) from None


def read_yaml(path: Path) -> Node | None:
    """The file's only document; None when it is empty.

    Raises:
        ConfigError: When it cannot be read, is no YAML, or is nested or repeated beyond the limits.
    """
    text = read_text(path)
    if strange := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, strange.start()) + 1
        column = strange.start() - text.rfind("\n", 0, strange.start())
        message = f"the character U+{ord(strange.group()):04X} found, YAML allows it nowhere"
        raise ConfigError(path, [Problem(line, column, message)])
    try:
        _guard(path, text)
        root: Node | None = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(path, [_syntax_problem(error)]) from None
    return root


@dataclass
class _Seen:
    """A node, and how much of the tree it is so far."""

    anchor: str | None
    values: int = 1
    depth: int = 1


def _guard(path: Path, text: str) -> None:
    """Goes through the events, which needs no recursion, before a tree is made of them."""
    finished: dict[str, _Seen] = {}
    open_ones = [_Seen(None)]
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            open_ones.append(_Seen(event.anchor))
            depth = len(open_ones) - 1
        elif isinstance(event, yaml.CollectionEndEvent | yaml.NodeEvent):
            seen = _finish(path, event, open_ones, finished)
            depth = len(open_ones) - 1 + seen.depth
        else:
            continue
        if depth > MAX_DEPTH:
            raise _at(path, event, _TOO_DEEP)
        if open_ones[-1].values > MAX_VALUES:
            raise _at(path, event, f"more than {MAX_VALUES} values, with all aliases written out")


def _finish(
    path: Path, event: yaml.Event, open_ones: list[_Seen], finished: dict[str, _Seen]
) -> _Seen:
    """Adds the node that ends with ``event`` to the collection around it."""
    if isinstance(event, yaml.CollectionEndEvent):
        seen = open_ones.pop()
    elif isinstance(event, yaml.AliasEvent):
        if any(one.anchor == event.anchor for one in open_ones):
            raise _at(path, event, f"the alias '*{event.anchor}' stands inside its own anchor")
        # An alias without an anchor is left to the composer, which says so.
        seen = finished.get(str(event.anchor), _Seen(None))
    else:
        seen = _Seen(getattr(event, "anchor", None))
    if seen.anchor is not None:
        finished[seen.anchor] = seen
    around = open_ones[-1]
    around.values += seen.values
    around.depth = max(around.depth, seen.depth + 1)
    return seen


def _at(path: Path, event: Any, message: str) -> ConfigError:
    mark = event.start_mark
    return ConfigError(path, [Problem(mark.line + 1, mark.column + 1, message)])


def _unlocated(path: Path, message: str) -> ConfigError:
    return ConfigError(path, [Problem(0, 0, message)])


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    parts = [part for part in (error.context, error.problem) if part]
    message = "this is no valid YAML: " + ", ".join(parts)
    return Problem(mark.line + 1, mark.column + 1, message) if mark else Problem(0, 0, message)
