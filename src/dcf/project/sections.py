"""The kinds of values that hold others: lists, free maps, and mappings with known keys."""

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
    why_no_python,
)
from dcf.project.nodes import Entry, Faults, entries, found, is_unset, kind_of, sort_of


@dataclass(frozen=True, slots=True)
class TextList:
    """A list of texts, none of them empty."""

    item: Text

    def read(self, node: Node, where: str, faults: Faults) -> tuple[str, ...] | None:
        """The texts."""
        nodes = _items(node, where, faults)
        if nodes is None:
            return None
        texts = []
        for number, item in enumerate(nodes):
            if is_unset(item):
                faults.add(item, f"{where}[{number}]: nothing found, {self.item.wanted} is wanted")
            elif (text := self.item.read(item, f"{where}[{number}]", faults)) is not None:
                texts.append(text)
        return tuple(texts)

    def schema(self) -> Schema:
        """A list or nothing."""
        item = {"type": "string", "minLength": 1, "pattern": f"^({self.item.pattern})$"}
        return {"type": ["array", "null"], "items": item}


def _items(node: Node, where: str, faults: Faults) -> list[Node] | None:
    if isinstance(node, SequenceNode) and kind_of(node) == "seq":
        return list(node.value)
    if kind_of(node) != "null":
        faults.add(node, f"{where}: {sort_of(node)} found, a list is wanted")
    return None


@dataclass(frozen=True, slots=True)
class BuildArguments:
    """A list of ``KEY=VALUE``. Only the key is ever shown, for the value may be a credential."""

    def read(self, node: Node, where: str, faults: Faults) -> tuple[tuple[str, str], ...] | None:
        """The pairs."""
        nodes = _items(node, where, faults)
        if nodes is None:
            return None
        pairs: dict[str, str] = {}
        for number, item in enumerate(nodes):
            here = f"{where}[{number}]"
            if kind_of(item) != "str":
                faults.add(item, f"{here}: {found(item)} found, a text KEY=VALUE is wanted")
                continue
            key, equals, value = item.value.partition("=")
            if not equals or not re.fullmatch(VARIABLE_PATTERN, key):
                faults.add(
                    item, f"{here}: KEY=VALUE is wanted, with letters, digits and '_' in KEY"
                )
            elif key in pairs:
                faults.add(item, f"{here}: {key} stands here twice")
            elif key == PYTHON_ARGUMENT and value and (reason := why_no_python(value)):
                faults.add(item, f"{here}: {key}: {reason}")
            else:
                pairs[key] = value
        return tuple(pairs.items())

    def schema(self) -> Schema:
        """A list or nothing; the interpreter's version is looked at as well."""
        other = rf"(?!{PYTHON_ARGUMENT}=){VARIABLE_PATTERN}=[\s\S]*"
        pattern = f"^({other}|{PYTHON_ARGUMENT}=({PYTHON_PATTERN})?)$"
        return {"type": ["array", "null"], "items": {"type": "string", "pattern": pattern}}


@dataclass(frozen=True, slots=True)
class ScalarMap:
    """A mapping with free keys, whose values are texts, numbers or truth values.

    A value becomes the text that stands in the file: ``1.10`` stays ``1.10``, ``yes`` stays
    ``yes``. An empty text is a value here; only null leaves a key unset.

    Attributes:
        why_no_key: Why a key is refused; "" when it is not.
        key_pattern: The same for JSON Schema.
    """

    why_no_key: Callable[[str], str]
    key_pattern: str

    def read(self, node: Node, where: str, faults: Faults) -> dict[str, str] | None:
        """The mapping."""
        values: dict[str, str] = {}
        for entry in mapping_entries(node, where, faults):
            kind = kind_of(entry.value)
            if reason := self.why_no_key(entry.key):
                faults.add(entry.key_node, f"{where}: {entry.key!r}: {reason}")
            elif kind in {"map", "seq", "tag"}:
                what = f"{found(entry.value)} found, a text, a number or true or false is wanted"
                faults.add(entry.value, f"{where}.{entry.key}: {what}")
            elif "\0" in entry.value.value:
                faults.add(entry.value, f"{where}.{entry.key}: it has a zero character in it")
            elif kind != "null":
                values[entry.key] = entry.value.value
        return values or None

    def schema(self) -> Schema:
        """A mapping or nothing."""
        value = {"type": ["string", "number", "boolean", "null"], "pattern": r"^[^\x00]*$"}
        return {
            "type": ["object", "null"],
            "patternProperties": {f"^{self.key_pattern}$": value},
            "additionalProperties": False,
        }


def mapping_entries(node: Node, where: str, faults: Faults) -> list[Entry]:
    """The entries of a mapping; none for null, and none with a fault noted for anything else."""
    if isinstance(node, MappingNode) and kind_of(node) == "map":
        return entries(node, faults)
    if kind_of(node) != "null":
        faults.add(node, f"{where}: {sort_of(node)} found, a mapping is wanted")
    return []


@dataclass(frozen=True, slots=True)
class Field:
    """One known key.

    Attributes:
        name: The key.
        kind: What stands there.
        description: What it is for, with its unit.
        default: What an unset value comes to; None where that is decided later.
        required: Whether it must be there.
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
        title: What it is, for messages.
        fields: The known keys, in the order in which a file has them.
        check: Looks at several values at once; receives their nodes by key.
    """

    title: str
    fields: tuple[Field, ...]
    check: Callable[[Mapping[str, Node], dict[str, Any], str, Faults], None] | None = None

    def read(self, node: Node, where: str, faults: Faults) -> dict[str, Any]:
        """The values that are set."""
        known = {one.name: one for one in self.fields}
        nodes: dict[str, Node] = {}
        values: dict[str, Any] = {}
        for entry in mapping_entries(node, where or self.title, faults):
            if entry.key not in known:
                faults.add(entry.key_node, self._unknown(entry.key, where))
                continue
            nodes[entry.key] = entry.value
            inner = f"{where}.{entry.key}" if where else entry.key
            value = known[entry.key].kind.read(entry.value, inner, faults)
            if value is not None:
                values[entry.key] = value
        for one in self.fields:
            if one.required and one.name not in nodes and isinstance(node, MappingNode):
                faults.add(node, f"{where or self.title}: the key {one.name!r} is missing")
        if self.check is not None:
            self.check(nodes, values, where, faults)
        return values

    def _unknown(self, key: str, where: str) -> str:
        names = [one.name for one in self.fields]
        near = get_close_matches(key.lower(), names, n=1)
        homes = [home for one in self.fields if (home := _home(one, key))]
        guess = f"; did you mean {near[0]!r}?" if near else ""
        if homes:
            guess = f"; it belongs under {' or '.join(map(repr, homes))}"
        here = f"{where}: " if where else ""
        return f"{here}{key!r} is no key of {self.title}{guess} (known: {', '.join(names)})"

    def schema(self) -> Schema:
        """An object with no other keys; nothing as well, where no key is required."""
        properties = {}
        for one in self.fields:
            default = {} if one.default is None else {"default": one.default}
            properties[one.name] = {"description": one.description, **one.kind.schema(), **default}
        required = [one.name for one in self.fields if one.required]
        return {
            "type": "object" if required else ["object", "null"],
            "properties": properties,
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }


def _home(one: Field, key: str) -> str:
    """Where ``key`` belongs if that is under ``one``; else ""."""
    inner, home = one.kind, one.name
    if isinstance(inner, Functions):
        inner, home = inner.function, f"{one.name}.NAME"
    known = [field.name for field in inner.fields] if isinstance(inner, Section) else []
    return home if key in known else ""


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of a file by name, at least one."""

    function: Section

    def read(self, node: Node, where: str, faults: Faults) -> dict[str, dict[str, Any]]:
        """The values of each function, in the file's order."""
        functions = {}
        found_entries = mapping_entries(node, where, faults)
        if not found_entries and kind_of(node) in {"map", "null"}:
            faults.add(node, f"{where}: no function found, at least one is wanted")
        for entry in found_entries:
            try:
                name = check_name(entry.key)
            except InvalidName as error:
                faults.add(entry.key_node, f"{where}: {error}")
            else:
                functions[name] = self.function.read(entry.value, f"{where}.{name}", faults)
        return functions

    def schema(self) -> Schema:
        """An object with the functions' names as keys."""
        return {
            "type": "object",
            "minProperties": 1,
            "patternProperties": {f"^{NAME_PATTERN}$": self.function.schema()},
            "additionalProperties": False,
        }
