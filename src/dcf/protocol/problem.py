"""Converts errors to problem documents and back (RFC 9457, ``application/problem+json``).

Besides the members of the RFC there are ``error``, the class in ``dcf.errors``; ``request_id``; and
the fields of that class, such as ``traceback`` or ``near``. Fields with default values are left
out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from dcf import errors
from dcf.protocol.status_codes import status_of
from dcf.protocol.text import json_bytes, whole_text

_TITLES: dict[type[errors.DcfError], str] = {
    errors.DcfError: "The gateway failed",
    errors.ProjectError: "The function is invalid",
    errors.FunctionNotFound: "Function not found",
    errors.RolloutInvalid: "Nothing to act on",
    errors.BuildError: "The function could not be built",
    errors.StartError: "The function did not start",
    errors.AccessDenied: "Access denied",
    errors.UploadInvalid: "The upload does not match its announcement",
    errors.BlobsMissing: "Blobs have not been uploaded",
    errors.CallError: "The function could not be called",
    errors.HandlerRaised: "The handler raised an exception",
    errors.UnsupportedReply: "The handler returned a value that cannot be sent",
    errors.DeadlineExceeded: "No reply before the deadline",
    errors.Overloaded: "Too many calls are waiting",
    errors.NotReady: "The replica accepts no calls",
    errors.ReplicaLost: "The replica ended during the call",
    errors.BodyTooLarge: "The body is too large",
    errors.BodyTooSlow: "The body arrives too slowly",
    errors.BadRequest: "The request cannot be used",
    errors.HostNotAllowed: "The request is for another host",
}
"""Titles. Other classes have the title of their nearest listed ancestor."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of an error: its default, and its conversions from and to JSON."""

    default: Any
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return tuple(whole_text(str(text)) for text in value)


def _problems(value: Any) -> tuple[errors.Problem, ...]:
    return tuple(
        errors.Problem(int(line), int(column), whole_text(str(text)))
        for line, column, text in value
    )


def _text(value: Any) -> str:
    return whole_text(str(value))


_TEXT = _Field("", _text, str)
_NUMBER = _Field(0, int, int)
_TEXTS = _Field((), _texts, list)
_PATH = _Field(None, Path, str)
_PROBLEMS = _Field((), _problems, lambda value: [astuple(problem) for problem in value])

_FIELDS: dict[type[errors.DcfError], Mapping[str, _Field]] = {
    errors.InvalidName: {"name": _TEXT},
    errors.ConfigError: {"path": _PATH, "problems": _PROBLEMS},
    errors.FunctionNotFound: {"near": _TEXTS},
    errors.FunctionAmbiguous: {"names": _TEXTS},
    errors.FolderExists: {"path": _PATH},
    errors.SecretNotFound: {"name": _TEXT, "expected": _PATH},
    errors.BuildError: {"output": _TEXT},
    errors.GpuUnavailable: {"wanted": _NUMBER, "free": _NUMBER, "present": _NUMBER},
    errors.StartError: {"traceback": _TEXT},
    errors.UploadInvalid: {"offset": _NUMBER},
    errors.BodyTooLarge: {"limit": _NUMBER},
    errors.HandlerRaised: {"exception": _TEXT, "traceback": _TEXT},
    errors.Overloaded: {"retry_after": _Field(1, int, int)},
}
"""The fields of each class and its subclasses. Other classes have none."""


def to_problem(error: errors.DcfError, request_id: str = "") -> bytes:
    """Return ``error`` as a problem document."""
    return json_bytes(problem_members(error, request_id))


def problem_members(error: errors.DcfError, request_id: str = "") -> dict[str, Any]:
    """Return the members of the problem document of ``error``."""
    kind = type(error)
    members = {
        "type": "about:blank",
        "title": next(_TITLES[ancestor] for ancestor in kind.__mro__ if ancestor in _TITLES),
        "status": status_of(kind).http,
        "detail": str(error),
        "error": kind.__name__,
        "request_id": request_id,
    }
    for name, field in _fields(kind).items():
        value = getattr(error, name, field.default)
        if value != field.default:
            members[name] = field.write(value)
    return {name: value for name, value in members.items() if value != ""}


def without_traceback(error: errors.DcfError) -> errors.DcfError:
    """Return the error for callers on other machines, without the author's paths and code.

    Its class and its message stay.
    """
    if not getattr(error, "traceback", ""):
        return error
    return error_of({**problem_members(error), "traceback": ""})


def from_problem(status: int, body: bytes) -> errors.DcfError:
    """Return the error of a reply.

    If the body is not a problem document of this project, return a CallError with the status.
    """
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = {}
    if not isinstance(members, dict):
        members = {}
    if not members.get("detail"):
        text = body[:500].decode(errors="replace")
        members = {**members, "detail": text or f"HTTP {status}"}
    return error_of({"status": status, **members})


def error_of(members: Mapping[str, Any]) -> errors.DcfError:
    """Return the error for the members of a problem document.

    If a newer gateway sent an unknown class, return a CallError with the status.
    """
    detail = _text(members.get("detail", ""))
    kind = getattr(errors, str(members.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.DcfError)):
        return errors.CallError(f"HTTP {members.get('status')}: {detail}")
    # Do not call the constructor: some build the message from values that are not in the document.
    error = kind.__new__(kind, detail)
    for name, field in _fields(kind).items():
        setattr(error, name, _read(field, members.get(name)))
    return error


def _fields(kind: type[errors.DcfError]) -> Mapping[str, _Field]:
    return next((_FIELDS[ancestor] for ancestor in kind.__mro__ if ancestor in _FIELDS), {})


def _read(field: _Field, value: Any) -> Any:
    """Return the field's value; the default if ``value`` is missing or invalid."""
    try:
        return field.default if value is None else field.read(value)
    except (OverflowError, TypeError, ValueError):
        return field.default
