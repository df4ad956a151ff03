"""Parses a YAML file to a tree of nodes with their positions.

Here: reading, and limits against malicious files. Not here: the meaning of the nodes.
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
"""libyaml's parser if PyYAML was built with it: about ten times as fast."""

MAX_BYTES = 1024**2
"""Maximum size of a file. A config file has a few kilobytes; a model passed by mistake has more."""
MAX_DEPTH = 20
"""Maximum depth, aliases included. The format needs five levels. libyaml's composer recurses in C
and crashes the process if a file is nested very deeply."""
_TOO_DEEP = f"expected at most {MAX_DEPTH} nested levels, got more"
MAX_VALUES = 100_000
"""Maximum number of values with all aliases expanded, so that a few lines cannot grow to
gigabytes."""


def read_text(path: Path) -> str:
    """Return the file's text without a byte order mark.

    Raises:
        ConfigError: If it is missing, a folder, too large, unreadable or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unlocated(path, "file not found") from None
    except IsADirectoryError:
        raise _unlocated(path, "expected a file, got a folder") from None
    except OSError as error:
        raise _unlocated(path, f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise _unlocated(path, f"expected at most {MAX_BYTES} bytes, got more")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        data = error.object
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        message = f"expected UTF-8, got the byte 0x{data[error.start]:02x}"
        raise ConfigError(path, [Problem(line, column, message)]) from None


def read_yaml(path: Path) -> Node | None:
    """Return the file's only document; None if the file is empty.

    Raises:
        ConfigError: If the file cannot be read, is not valid YAML, or exceeds the limits.
    """
    text = read_text(path)
    if character := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, character.start()) + 1
        column = character.start() - text.rfind("\n", 0, character.start())
        message = f"invalid YAML: the character U+{ord(character.group()):04X} is not allowed"
        raise ConfigError(path, [Problem(line, column, message)])
    try:
        _check_limits(path, text)
        root: Node | None = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(path, [_syntax_problem(error)]) from None
    return root


@dataclass
class _Subtree:
    """A node with the number of values and the depth of its part of the tree, so far."""

    anchor: str | None
    values: int = 1
    depth: int = 1


def _check_limits(path: Path, text: str) -> None:
    """Check the limits on the parser's events, without recursion, before a tree is composed."""
    finished: dict[str, _Subtree] = {}
    unfinished = [_Subtree(None)]
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            unfinished.append(_Subtree(event.anchor))
            depth = len(unfinished) - 1
        elif isinstance(event, yaml.CollectionEndEvent | yaml.NodeEvent):
            subtree = _finish(path, event, unfinished, finished)
            depth = len(unfinished) - 1 + subtree.depth
        else:
            continue
        if depth > MAX_DEPTH:
            raise _at(path, event, _TOO_DEEP)
        if unfinished[-1].values > MAX_VALUES:
            message = f"expected at most {MAX_VALUES} values with all aliases expanded, got more"
            raise _at(path, event, message)


def _finish(
    path: Path, event: yaml.Event, unfinished: list[_Subtree], finished: dict[str, _Subtree]
) -> _Subtree:
    """Add the node that ends with ``event`` to its parent."""
    if isinstance(event, yaml.CollectionEndEvent):
        subtree = unfinished.pop()
    elif isinstance(event, yaml.AliasEvent):
        if any(parent.anchor == event.anchor for parent in unfinished):
            raise _at(path, event, f"invalid YAML: '*{event.anchor}' is inside its own anchor")
        # The composer reports an alias without an anchor.
        subtree = finished.get(str(event.anchor), _Subtree(None))
    else:
        subtree = _Subtree(getattr(event, "anchor", None))
    if subtree.anchor is not None:
        finished[subtree.anchor] = subtree
    parent = unfinished[-1]
    parent.values += subtree.values
    parent.depth = max(parent.depth, subtree.depth + 1)
    return subtree


def _at(path: Path, event: Any, message: str) -> ConfigError:
    mark = event.start_mark
    return ConfigError(path, [Problem(mark.line + 1, mark.column + 1, message)])


def _unlocated(path: Path, message: str) -> ConfigError:
    return ConfigError(path, [Problem(0, 0, message)])


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    parts = [part for part in (error.context, error.problem) if part]
    message = "invalid YAML: " + ", ".join(parts)
    return Problem(mark.line + 1, mark.column + 1, message) if mark else Problem(0, 0, message)
