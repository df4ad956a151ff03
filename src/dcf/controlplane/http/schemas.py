"""JSON schemas of the OpenAPI document, derived from the types in the table of routes.

Names, types and order of a schema's members are those of the Python class; their descriptions are
the ``Attributes`` of its docstring.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from dcf.model.json_schema import Keywords
from dcf.model.scaling import ScalingSpec
from dcf.model.status import MissingBlob
from dcf.protocol.api_types import AnnouncementReply, ProblemDocument
from dcf.protocol.progress import Progress

Schema = dict[str, Any]

_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    float: {"type": "number"},
    bytes: {"type": "string", "format": "binary"},
    dict: {"type": "object", "additionalProperties": True},
}
SCHEMA_NAMES: Mapping[Any, str] = {
    AnnouncementReply: "Announced",
    MissingBlob: "Wanting",
    ProblemDocument: "Problem",
    ScalingSpec: "ScalingWish",
}
"""Schemas whose names differ from those of their classes. Generated clients use the names, so they
must never change."""

_MEMBER = re.compile(r"^    (\w+): (.*(?:\n     .*)*)", re.MULTILINE)


class Schemas:
    """The named schemas of a document.

    Attributes:
        components: The schemas, by name.
    """

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of(self, kind: Any, *, is_request: bool = False) -> Schema:  # noqa: PLR0911  one for each kind
        """Return the schema of a type. Classes are added to :attr:`components`.

        Args:
            kind: The type.
            is_request: Whether clients send it. Members without a default are required then, and
                unknown members are not allowed. The gateway, in contrast, sends all members, and a
                later version may send more.
        """
        arguments = get_args(kind)
        match get_origin(kind):
            case origin if origin is Annotated:
                return self._annotated(*arguments, is_request=is_request)
            case origin if origin in {Union, UnionType}:
                return {"oneOf": [self.of(arguments[0], is_request=is_request), {"type": "null"}]}
            case origin if origin is Literal:
                return {"type": "integer", "enum": [*arguments]}
            case origin if origin is Mapping:
                return {"type": "object", "additionalProperties": self.of(arguments[1])}
            case origin if origin is list or arguments[1:] == (...,):
                return {"type": "array", "items": self.of(arguments[0], is_request=is_request)}
            case origin if origin is tuple:
                return _fixed_array([self.of(item)["type"] for item in arguments])
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        return self._reference(kind, is_request=is_request)

    def _annotated(self, kind: Any, meaning: Any, *, is_request: bool) -> Schema:
        if not isinstance(meaning, Keywords):
            return self.of(meaning, is_request=is_request)
        schema = {**self.of(kind), **meaning.members}
        if not meaning.name:
            return schema
        self.components[meaning.name] = schema
        return _reference(meaning.name)

    def _reference(self, kind: Any, *, is_request: bool) -> Schema:
        name = SCHEMA_NAMES.get(kind, kind.__name__)
        if name not in self.components:
            self.components[name] = {}  # its place in the document: before what it refers to
            if issubclass(kind, Enum):
                described = {"description": _plain(inspect.getdoc(kind) or "")}
                values = [str(value) for value in kind]
                self.components[name] = {"type": "string", **described, "enum": values}
            else:
                self.components[name] = self._object(kind, is_request=is_request)
        return _reference(name)

    def _object(self, kind: Any, *, is_request: bool) -> Schema:
        text = inspect.getdoc(kind) or ""
        descriptions = {name: _plain(description) for name, description in _MEMBER.findall(text)}
        schema: Schema = {
            "type": "object",
            "description": _plain(text.partition("\n\n")[0]),
            "properties": {},
            "required": [],
        }
        for name, member, has_default in _members(kind):
            is_optional = has_default and (is_request or is_typeddict(kind) or kind is Progress)
            described = self.of(member, is_request=is_request)
            if is_optional and not is_request:  # it is left out instead of null
                described = described.get("oneOf", [described])[0]
            schema["properties"][name] = described | {"description": descriptions[name]}
            if not is_optional:
                schema["required"].append(name)
        if is_request:
            schema["additionalProperties"] = False
        elif kind is ProblemDocument:
            schema["additionalProperties"] = True
        return schema


def _members(kind: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield the name and the type of each member, and whether it has a default."""
    hints = get_type_hints(kind, include_extras=True)
    if is_dataclass(kind):
        for field in fields(kind):
            has_default = not (field.default is MISSING and field.default_factory is MISSING)
            yield field.name, hints[field.name], has_default
        return
    for name, hint in hints.items():
        is_optional = get_origin(hint) is NotRequired
        yield name, get_args(hint)[0] if is_optional else hint, is_optional


def _fixed_array(types: list[str]) -> Schema:
    unique = [*dict.fromkeys(types)]
    items = {"type": unique[0] if len(unique) == 1 else unique}
    return {"type": "array", "items": items, "minItems": len(types), "maxItems": len(types)}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _plain(text: str) -> str:
    """Return text of a docstring for users of JSON, in one line."""
    return re.sub(r"\bNone\b", "null", " ".join(text.split()).replace("``", "`"))
