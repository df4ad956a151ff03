"""Converts a function's spec to JSON and back.

Fields with default values are left out, so that the JSON of a spec stays the same when the project
adds a field. The JSON may come from any client, and a client may skip config.yaml. So every rule of
config.yaml that matters for safety is checked here again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from dcf.errors import InvalidName, SpecInvalid
from dcf.model.artifact import canonical_json
from dcf.model.function import FunctionSpec, HandlerRef, Resources
from dcf.model.names import check_name
from dcf.model.scaling import ScalingSpec

_SHOWN = 80
"""Maximum characters of a value in a message."""

LARGEST = 2**63 - 1
"""Maximum of whole numbers: what the catalog and the kernel's interfaces can hold."""

_FOLDER = re.compile(r"(?!/)(?!([^\x00]*/)?\.\.(/|$))[^\x00]*")
_FILE = re.compile(r"[^\x00/\\]+\.py")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_SECRET = re.compile(r"(?!\.\.?$)[^\x00-\x1f\x7f/\\]+")
_VARIABLE = re.compile(r"(?!DCF_)[A-Za-z_][A-Za-z0-9_]*")
_TEXT = re.compile(r"[^\x00\ud800-\udfff]*")
"""Half of a surrogate pair is not a character, and cannot be stored."""


def spec_to_json(spec: FunctionSpec) -> bytes:
    """Return ``spec`` as canonical JSON."""
    return canonical_json(_members(spec))


def spec_from_json(data: bytes | str) -> FunctionSpec:
    """Parse a spec.

    Raises:
        SpecInvalid: If it is not valid JSON, or a field is unknown or invalid.
    """
    try:
        members = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SpecInvalid("the spec is not valid JSON") from error
    return spec_from_members(members)


def spec_from_members(members: object) -> FunctionSpec:
    """Return the spec for parsed JSON.

    Raises:
        SpecInvalid: If a field is unknown, missing or invalid.
    """
    given = _object("spec", members)
    if "name" not in given:
        raise SpecInvalid("name: expected a function's name, got nothing")
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


def _members(value: FunctionSpec | HandlerRef | Resources | ScalingSpec) -> dict[str, Any]:
    members = {}
    for field in fields(value):
        content = getattr(value, field.name)
        factory = field.default_factory
        default = field.default if factory is MISSING else factory()
        if content == default:
            continue
        if isinstance(content, HandlerRef | Resources | ScalingSpec):
            content = _members(content)
        elif isinstance(content, Mapping):
            content = dict(content)
        elif field.name in _FRACTIONS:
            content = float(content)  # 300 and 300.0 must give the same JSON
        members[field.name] = content
    return members


_FRACTIONS = frozenset({"timeout", "idle_timeout", "cpu", "target", "idle"})

Reader = Callable[[str, object], Any]


def _read(where: str, given: Mapping[str, object], table: Mapping[str, Reader]) -> dict[str, Any]:
    for name in given:
        if name not in table:
            near = get_close_matches(name[:_SHOWN].lower(), table, n=1)
            guess = f' (did you mean "{where}{near[0]}"?)' if near else ""
            raise SpecInvalid(f'unknown field "{where}{name[:_SHOWN]}"{guess}')
    return {name: table[name](where + name, value) for name, value in given.items()}


def _object(where: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise SpecInvalid(f"{where}: expected an object, got {_sort_of(value)}")
    return value


def _shown(value: object) -> str:
    """Return ``value`` for messages. Must not be used for values that may be secret."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "...")
    if isinstance(value, bool | int | float):
        return json.dumps(value)[:_SHOWN]
    return _sort_of(value)


def _sort_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def _name(where: str, value: object) -> str:
    try:
        return check_name(_text(where, value))
    except InvalidName as error:
        raise SpecInvalid(f"{where}: {error}") from error


def _matching(pattern: re.Pattern[str], expected: str) -> Reader:
    def read(where: str, value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise SpecInvalid(f"{where}: expected {expected}, got {_shown(value)}")
        return value

    return read


def _text(where: str, value: object) -> str:
    # The text may be a secret by mistake, so messages do not show it.
    if not isinstance(value, str):
        raise SpecInvalid(f"{where}: expected text, got {_sort_of(value)}")
    if not _TEXT.fullmatch(value):
        raise SpecInvalid(f"{where}: must not contain NUL or half of a surrogate pair")
    return value


def _fraction(where: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST:
        return float(value)
    raise SpecInvalid(f"{where}: expected a number above 0, got {_shown(value)}")


def _whole(least: int) -> Reader:
    def read(where: str, value: object) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
            raise SpecInvalid(
                f"{where}: expected a whole number, {least} or more, got {_shown(value)}"
            )
        return value

    return read


def _flag(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise SpecInvalid(f"{where}: expected true or false, got {_shown(value)}")
    return value


def _python(where: str, value: object) -> str | None:
    return None if value is None else str(_version(where, value))


_version = _matching(re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,3})?"), "a version such as 3.12")


def _texts(read_item: Reader) -> Reader:
    def read(where: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise SpecInvalid(f"{where}: expected a list, got {_sort_of(value)}")
        return tuple(read_item(f"{where}[{index}]", item) for index, item in enumerate(value))

    return read


def _pairs(where: str, value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise SpecInvalid(f"{where}: expected a list of pairs of texts, got {_sort_of(value)}")
    if not all(isinstance(pair, list) and [*map(type, pair)] == [str, str] for pair in value):
        raise SpecInvalid(f"{where}: expected a list of pairs of texts, got other items")
    return tuple((_text(where, name), _text(where, content)) for name, content in value)


def _mapping(key: Reader) -> Reader:
    def read(where: str, value: object) -> dict[str, str]:
        given = _object(where, value)
        return {key(where, name): _text(f"{where}.{name}", text) for name, text in given.items()}

    return read


def _handler(where: str, value: object) -> HandlerRef:
    return HandlerRef(**_read(f"{where}.", _object(where, value), _HANDLER))


def _resources(where: str, value: object) -> Resources:
    return Resources(**_read(f"{where}.", _object(where, value), _RESOURCES))


def _scaling(where: str, value: object) -> ScalingSpec:
    scaling = ScalingSpec(**_read(f"{where}.", _object(where, value), _SCALING))
    scaling.check()
    return scaling


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
    "environment_file": _texts(_text),
    "secrets": _texts(_matching(_SECRET, "a file's name without a folder")),
    "constraints": _texts(_text),
    "labels": _mapping(_matching(re.compile(r"[^\x00]+"), "a label's key")),
    "scaling": _scaling,
    "docker_registry": _text,
    "image": _text,
    "build_args": _pairs,
    "build_options": _texts(_text),
}

_MADE: dict[str, Callable[[Any], object]] = {
    "handler": lambda value: HandlerRef(**value),
    "limits": lambda value: Resources(**value),
    "requests": lambda value: Resources(**value),
    "scaling": lambda value: ScalingSpec(**value),
    "environment_file": tuple,
    "secrets": tuple,
    "constraints": tuple,
    "build_args": lambda value: tuple((name, text) for name, text in value),
    "build_options": tuple,
}
