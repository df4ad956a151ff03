"""A function's spec as JSON, and back.

Fields that have their default are left out, so that a spec keeps its spelling when the project
learns a new field. What is read may come from anybody: every rule of config.yaml on which safety
depends is checked here once more, because what comes over the wire never passed through there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

from dcf.errors import InvalidName, SpecInvalid
from dcf.model.artifact import canonical_json
from dcf.model.function import FunctionSpec, HandlerRef, Resources
from dcf.model.names import check_name
from dcf.model.scaling import ScalingWish

LARGEST = 2**63 - 1
"""Of a whole number: what the catalog and the kernel's interfaces can hold."""

_FOLDER = re.compile(r"(?!/)(?!([^\x00]*/)?\.\.(/|$))[^\x00]*")
_FILE = re.compile(r"[^\x00/\\]+\.py")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_SECRET = re.compile(r"(?!\.\.?$)[^\x00-\x1f\x7f/\\]+")
_VARIABLE = re.compile(r"(?!DCF_)[A-Za-z_][A-Za-z0-9_]*")
_TEXT = re.compile(r"[^\x00\ud800-\udfff]*")
"""Half of a surrogate pair is no character, and cannot be stored as one."""


def spec_to_json(spec: FunctionSpec) -> bytes:
    """The one spelling of ``spec``."""
    return canonical_json(_members(spec))


def spec_from_json(data: bytes | str) -> FunctionSpec:
    """Reads a spec.

    Raises:
        SpecInvalid: When it is no JSON, or a field is unknown or does not fit.
    """
    try:
        members = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SpecInvalid("the spec is no JSON") from error
    return spec_from_members(members)


def spec_from_members(members: object) -> FunctionSpec:
    """Reads a spec from what JSON was parsed to.

    Raises:
        SpecInvalid: When a field is unknown, missing or does not fit.
    """
    given = _object("spec", members)
    if "name" not in given:
        raise SpecInvalid("name: a function's name is wanted")
    return FunctionSpec(**_read("", given, _SPEC))


@lru_cache(maxsize=4096)
def spec_from_own_json(text: str) -> FunctionSpec:
    """Read the output of :func:`spec_to_json`.

    Results are cached by text, so that repeated lists of a thousand functions parse each spec once.

    Raises:
        ValueError: If it is not JSON.
        SpecInvalid: If a field is unknown, missing or invalid.
    """
    members = json.loads(text)
    spec_from_members(members)
    for name in members.keys() & _MADE.keys():
        members[name] = _MADE[name](members[name])
    return FunctionSpec(**members)


def _members(value: FunctionSpec | HandlerRef | Resources | ScalingWish) -> dict[str, Any]:
    found = {}
    for field in fields(value):
        content = getattr(value, field.name)
        factory = field.default_factory
        default = field.default if factory is MISSING else factory()
        if content == default:
            continue
        if isinstance(content, HandlerRef | Resources | ScalingWish):
            content = _members(content)
        elif isinstance(content, Mapping):
            content = dict(content)
        elif field.name in _FRACTIONS:
            content = float(content)  # 300 and 300.0 are one value and have one spelling
        found[field.name] = content
    return found


_FRACTIONS = frozenset({"timeout", "idle_timeout", "cpu", "target", "idle"})

Reader = Callable[[str, object], Any]


def _read(where: str, given: Mapping[str, object], table: Mapping[str, Reader]) -> dict[str, Any]:
    for name in given:
        if name not in table:
            raise SpecInvalid(f"{where}{name[:80]}: there is no such field")
    return {name: table[name](where + name, value) for name, value in given.items()}


def _object(where: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise SpecInvalid(f"{where}: an object is wanted")
    return value


def _name(where: str, value: object) -> str:
    try:
        return check_name(_text(where, value))
    except InvalidName as error:
        raise SpecInvalid(f"{where}: {error}") from error


def _matching(pattern: re.Pattern[str], wanted: str) -> Reader:
    def read(where: str, value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise SpecInvalid(f"{where}: {wanted} is wanted")
        return value

    return read


_text = _matching(_TEXT, "a text without a zero character")


def _fraction(where: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecInvalid(f"{where}: a number above 0 is wanted")
    if not 0 < value <= LARGEST or math.isnan(value):
        raise SpecInvalid(f"{where}: a number above 0 is wanted")
    return float(value)


def _whole(least: int) -> Reader:
    def read(where: str, value: object) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
            raise SpecInvalid(f"{where}: a whole number from {least} on is wanted")
        return value

    return read


def _flag(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise SpecInvalid(f"{where}: expected true or false")
    return value


def _python(where: str, value: object) -> str | None:
    return None if value is None else str(_version(where, value))


_version = _matching(re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,3})?"), "a version such as 3.12")


def _texts(pattern: re.Pattern[str], wanted: str) -> Reader:
    one = _matching(pattern, wanted)

    def read(where: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise SpecInvalid(f"{where}: a list is wanted")
        return tuple(one(f"{where}[{index}]", item) for index, item in enumerate(value))

    return read


def _pairs(where: str, value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise SpecInvalid(f"{where}: a list of pairs is wanted")
    if not all(isinstance(pair, list) and [*map(type, pair)] == [str, str] for pair in value):
        raise SpecInvalid(f"{where}: a list of pairs of texts is wanted")
    return tuple((_text(where, name), _text(where, content)) for name, content in value)


def _mapping(key: Reader) -> Reader:
    def read(where: str, value: object) -> dict[str, str]:
        given = _object(where, value)
        # The value may be a secret by mistake: messages name its key alone.
        return {key(where, name): _text(f"{where}.{name}", text) for name, text in given.items()}

    return read


def _handler(where: str, value: object) -> HandlerRef:
    return HandlerRef(**_read(f"{where}.", _object(where, value), _HANDLER))


def _resources(where: str, value: object) -> Resources:
    return Resources(**_read(f"{where}.", _object(where, value), _RESOURCES))


def _scaling(where: str, value: object) -> ScalingWish:
    wish = ScalingWish(**_read(f"{where}.", _object(where, value), _SCALING))
    wish.check()
    return wish


_HANDLER: dict[str, Reader] = {
    "dir": _matching(_FOLDER, "a folder inside the function's"),
    "file": _matching(_FILE, "the name of a .py file"),
    "name": _matching(_IDENTIFIER, "the name of a class or function"),
}

_RESOURCES: dict[str, Reader] = {"memory": _whole(1), "cpu": _fraction, "gpu": _whole(0)}

_SCALING: dict[str, Reader] = {
    "minimum": _whole(0),
    "maximum": _whole(0),
    "target": _fraction,
    "idle": _fraction,
}

_SPEC: dict[str, Reader] = {
    "name": _name,
    "runtime": _text,
    "desc": _text,
    "maintainer": _text,
    "handler": _handler,
    "limits": _resources,
    "requests": _resources,
    "python": _python,
    "timeout": _fraction,
    "idle_timeout": _fraction,
    "concurrency": _whole(1),
    "queue": _whole(0),
    "preflight": _flag,
    "environment": _mapping(
        _matching(_VARIABLE, "a variable's name that does not start with DCF_")
    ),
    "environment_file": _texts(_TEXT, "a path"),
    "secrets": _texts(_SECRET, "a file's name without a folder"),
    "constraints": _texts(_TEXT, "a text"),
    "labels": _mapping(_matching(re.compile(r"[^\x00]+"), "a label's key")),
    "scaling": _scaling,
    "docker_registry": _text,
    "image": _text,
    "build_args": _pairs,
    "build_options": _texts(_TEXT, "a text"),
}

_MADE: dict[str, Callable[[Any], object]] = {
    "handler": lambda value: HandlerRef(**value),
    "limits": lambda value: Resources(**value),
    "requests": lambda value: Resources(**value),
    "scaling": lambda value: ScalingWish(**value),
    "environment_file": tuple,
    "secrets": tuple,
    "constraints": tuple,
    "build_args": lambda value: tuple((name, text) for name, text in value),
    "build_options": tuple,
}
