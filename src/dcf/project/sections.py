"""The kinds of values that contain others: lists, free maps, and mappings with known keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from yaml import MappingNode, Node, SequenceNode

from dcf.errors import InvalidName
from dcf.model.names import NAME_PATTERN, check_name
from dcf.project.kinds import (
    PYTHON_ARGUMENT,
    PYTHON_PATTERN,
    VARIABLE_PATTERN,
    Schema,
    Text,
    ValueKind,
    python_problem,
)
from dcf.project.nodes import (
    MappingEntry,
    ProblemCollector,
    entries,
    is_unset,
    kind_of,
    shown,
    sort_of,
)


@dataclass(frozen=True, slots=True)
class TextList:
    """A list of texts that are not empty."""

    item: Text

    def read(self, node: Node, where: str, problems: ProblemCollector) -> tuple[str, ...] | None:
        """Return the texts."""
        nodes = _items(node, where, problems)
        if nodes is None:
            return None
        texts = []
        for number, item in enumerate(nodes):
            if is_unset(item):
                problems.add(item, f"{where}[{number}]: expected {self.item.expected}, got nothing")
            elif (text := self.item.read(item, f"{where}[{number}]", problems)) is not None:
                texts.append(text)
        return tuple(texts)

    def schema(self) -> Schema:
        """Return a list or nothing."""
        item = {"type": "string", "minLength": 1, "pattern": f"^({self.item.pattern})$"}
        return {"type": ["array", "null"], "items": item}


def _items(node: Node, where: str, problems: ProblemCollector) -> list[Node] | None:
    if isinstance(node, SequenceNode) and kind_of(node) == "seq":
        return list(node.value)
    if kind_of(node) != "null":
        problems.add(node, f"{where}: expected a list, got {sort_of(node)}")
    return None


@dataclass(frozen=True, slots=True)
class BuildArguments:
    """A list of ``KEY=VALUE``. Messages show only the key, because the value may be a secret."""

    def read(
        self, node: Node, where: str, problems: ProblemCollector
    ) -> tuple[tuple[str, str], ...] | None:
        """Return the pairs."""
        nodes = _items(node, where, problems)
        if nodes is None:
            return None
        pairs: dict[str, str] = {}
        for number, item in enumerate(nodes):
            here = f"{where}[{number}]"
            if kind_of(item) != "str":
                problems.add(item, f"{here}: expected text KEY=VALUE, got {shown(item)}")
                continue
            key, equals, value = item.value.partition("=")
            if not equals or not re.fullmatch(VARIABLE_PATTERN, key):
                message = "expected KEY=VALUE with letters, digits and '_' in KEY"
                problems.add(item, f"{here}: {message}, got something else")
            elif key in pairs:
                problems.add(item, f"{here}: duplicate key {key}")
            elif key == PYTHON_ARGUMENT and value and (problem := python_problem(value)):
                problems.add(item, f"{here}: {key}: {problem}")
            else:
                pairs[key] = value
        return tuple(pairs.items())

    def schema(self) -> Schema:
        """Return a list or nothing. The version of the interpreter is checked too."""
        other = rf"(?!{PYTHON_ARGUMENT}=){VARIABLE_PATTERN}=[\s\S]*"
        pattern = f"^({other}|{PYTHON_ARGUMENT}=({PYTHON_PATTERN})?)$"
        return {"type": ["array", "null"], "items": {"type": "string", "pattern": pattern}}


@dataclass(frozen=True, slots=True)
class ScalarMap:
    """A mapping with free keys, whose values are texts, numbers or booleans.

    A value keeps its text in the file: ``1.10`` stays ``1.10``, ``yes`` stays ``yes``. An empty
    text is a value here; only null leaves a key unset.

    Attributes:
        key_problem: Returns why a key is invalid, or "".
        key_pattern: The same for JSON Schema.
    """

    key_problem: Callable[[str], str]
    key_pattern: str

    def read(self, node: Node, where: str, problems: ProblemCollector) -> dict[str, str] | None:
        """Return the mapping."""
        values: dict[str, str] = {}
        for entry in mapping_entries(node, where, problems):
            kind = kind_of(entry.value)
            if problem := self.key_problem(entry.key):
                problems.add(entry.key_node, f"{where}: {problem}")
            elif kind in {"map", "seq", "tag"}:
                message = f"expected text, a number, true or false, got {shown(entry.value)}"
                problems.add(entry.value, f"{where}.{entry.key}: {message}")
            elif "\0" in entry.value.value:
                problems.add(entry.value, f"{where}.{entry.key}: must not contain NUL")
            elif kind != "null":
                values[entry.key] = entry.value.value
        return values or None

    def schema(self) -> Schema:
        """Return a mapping or nothing."""
        value = {"type": ["string", "number", "boolean", "null"], "pattern": r"^[^\x00]*$"}
        return {
            "type": ["object", "null"],
            "patternProperties": {f"^{self.key_pattern}$": value},
            "additionalProperties": False,
        }


def mapping_entries(node: Node, where: str, problems: ProblemCollector) -> list[MappingEntry]:
    """Return the entries of a mapping; none for null, and none with a problem for other nodes."""
    if isinstance(node, MappingNode) and kind_of(node) == "map":
        return entries(node, problems)
    if kind_of(node) != "null":
        problems.add(node, f"{where}: expected a mapping, got {sort_of(node)}")
    return []


@dataclass(frozen=True, slots=True)
class Field:
    """A known key.

    Attributes:
        name: The key.
        kind: The kind of its value.
        description: Its purpose, with the unit.
        default: The value if it is unset; None if that is decided later.
        required: Whether the key must be present.
    """

    name: str
    kind: ValueKind
    description: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping with known keys.

    Attributes:
        title: Name of the section, for messages.
        fields: The known keys, in the usual order.
        check: Checks values against each other; receives their nodes by key.
    """

    title: str
    fields: tuple[Field, ...]
    check: Callable[[Mapping[str, Node], dict[str, Any], str, ProblemCollector], None] | None = None

    def read(self, node: Node, where: str, problems: ProblemCollector) -> dict[str, Any]:
        """Return the values that are set."""
        known = {field.name: field for field in self.fields}
        nodes: dict[str, Node] = {}
        values: dict[str, Any] = {}
        for entry in mapping_entries(node, where or self.title, problems):
            if entry.key not in known:
                problems.add(entry.key_node, self._unknown(entry.key, where))
                continue
            nodes[entry.key] = entry.value
            inner = f"{where}.{entry.key}" if where else entry.key
            value = known[entry.key].kind.read(entry.value, inner, problems)
            if value is not None:
                values[entry.key] = value
        for field in self.fields:
            if field.required and field.name not in nodes and isinstance(node, MappingNode):
                problems.add(node, f"{where or self.title}: missing key {field.name!r}")
        if self.check is not None:
            self.check(nodes, values, where, problems)
        return values

    def _unknown(self, key: str, where: str) -> str:
        names = [field.name for field in self.fields]
        near = get_close_matches(key.lower(), names, n=1)
        homes = [home for field in self.fields if (home := _home(field, key))]
        guess = f" (did you mean {near[0]!r}?)" if near else ""
        if homes:
            guess = f" (it belongs under {' or '.join(map(repr, homes))})"
        here = f"{where}: " if where else ""
        return f"{here}unknown key {key!r}{guess}; known keys: {', '.join(names)}"

    def schema(self) -> Schema:
        """Return an object without other keys, or nothing if no key is required."""
        properties = {}
        for field in self.fields:
            schema = {"description": field.description, **field.kind.schema()}
            default = {} if field.default is None else {"default": field.default}
            properties[field.name] = schema | default
        required = [field.name for field in self.fields if field.required]
        return {
            "type": "object" if required else ["object", "null"],
            "properties": properties,
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }


def _home(field: Field, key: str) -> str:
    """Return the section under ``field`` that has ``key``, or ""."""
    inner, home = field.kind, field.name
    if isinstance(inner, FunctionMap):
        inner, home = inner.function, f"{field.name}.NAME"
    known = [nested.name for nested in inner.fields] if isinstance(inner, Section) else []
    return home if key in known else ""


@dataclass(frozen=True, slots=True)
class FunctionMap:
    """The functions of a file by name. There must be at least one."""

    function: Section

    def read(self, node: Node, where: str, problems: ProblemCollector) -> dict[str, dict[str, Any]]:
        """Return the values of each function, in the file's order."""
        functions = {}
        named = mapping_entries(node, where, problems)
        if not named and kind_of(node) in {"map", "null"}:
            problems.add(node, f"{where}: expected at least one function, got none")
        for entry in named:
            try:
                name = check_name(entry.key)
            except InvalidName as error:
                problems.add(entry.key_node, f"{where}: {error}")
            else:
                functions[name] = self.function.read(entry.value, f"{where}.{name}", problems)
        return functions

    def schema(self) -> Schema:
        """Return an object with the functions' names as keys."""
        return {
            "type": "object",
            "minProperties": 1,
            "patternProperties": {f"^{NAME_PATTERN}$": self.function.schema()},
            "additionalProperties": False,
        }
