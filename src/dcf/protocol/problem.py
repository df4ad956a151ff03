"""An error as a document, and back (RFC 9457, ``application/problem+json``).

Members beside the RFC's own: ``error``, the class in ``dcf.errors``; ``request_id``; and the fields
of that class, such as ``traceback`` or ``near``. What has its default is left out.
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
    errors.DcfError: "The gateway cannot do this",
    errors.ProjectError: "The function cannot be used as it is",
    errors.FunctionNotFound: "There is no such function",
    errors.RolloutInvalid: "There is nothing to act on",
    errors.BuildError: "The function could not be built",
    errors.StartError: "The function did not start",
    errors.AccessDenied: "Access denied",
    errors.UploadInvalid: "The upload does not fit",
    errors.BlobsMissing: "Not everything is uploaded",
    errors.CallError: "The function could not be called",
    errors.HandlerRaised: "The handler raised an exception",
    errors.UnsupportedReply: "The handler returned something that cannot be sent",
    errors.DeadlineExceeded: "No reply before the deadline",
    errors.Overloaded: "Too many calls are waiting",
    errors.NotReady: "The replica takes no calls now",
    errors.ReplicaLost: "The replica ended during the call",
    errors.BodyTooLarge: "The body is too large",
    errors.BodyTooSlow: "The body arrives too slowly",
    errors.BadRequest: "The request cannot be used",
    errors.HostNotAllowed: "The request is for another host",
}
"""A class that is not listed has the title of its nearest listed ancestor."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of an error: its default, and how it is read from and made into JSON."""

    default: Any
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("a list is wanted")
    return tuple(whole_text(str(one)) for one in value)


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
"""The fields of each class and of those below it; the others have none."""


def to_problem(error: errors.DcfError, request_id: str = "") -> bytes:
    """``error`` as a problem document."""
    return json_bytes(problem_members(error, request_id))


def problem_members(error: errors.DcfError, request_id: str = "") -> dict[str, Any]:
    """The members of :func:`to_problem`."""
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
    """The error that a reply with ``status`` and ``body`` stands for.

    A body that is no problem document of this project gives a CallError that tells the status.
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
    """The error that the members of a problem document stand for.

    A class that is not known here, from a newer gateway, gives a CallError that tells the status.
    """
    detail = _text(members.get("detail", ""))
    kind = getattr(errors, str(members.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.DcfError)):
        return errors.CallError(f"HTTP {members.get('status')}: {detail}")
    # Not through the constructor: some make their sentence from what is not in the document.
    error = kind.__new__(kind, detail)
    for name, field in _fields(kind).items():
        setattr(error, name, _read(field, members.get(name)))
    return error


def _fields(kind: type[errors.DcfError]) -> Mapping[str, _Field]:
    return next((_FIELDS[ancestor] for ancestor in kind.__mro__ if ancestor in _FIELDS), {})


def _read(field: _Field, value: Any) -> Any:
    """``value`` as the field has it; the default for what is missing or does not fit."""
    try:
        return field.default if value is None else field.read(value)
    except (OverflowError, TypeError, ValueError):
        return field.default
