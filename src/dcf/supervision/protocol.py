"""Encodes and decodes the lines on the supervisor's socket, each a JSON object.

A connection carries one request. The reply is any number of items, then its end or an error::

    {"do": "stop", "name": "envoy", "grace": 5.0}
    {"item": {"exit": {"code": 0, "at": 1700000000.0, "reason": "exit code 0", "report": ""}}}
    {"end": true}

If a reply stops without either, the connection is broken. This module does no I/O.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any, get_args

from dcf import errors
from dcf.errors import RequestInvalid, SupervisorError
from dcf.model.log import LogLine
from dcf.protocol.json_text import read_json
from dcf.supervision.liveness import LivenessRule, Probe
from dcf.supervision.policy import RestartPolicy
from dcf.supervision.process_messages import (
    ExitRecord,
    List,
    LogBound,
    Logs,
    Observe,
    ProcessEvent,
    ProcessEventKind,
    ProcessSpec,
    ProcessStatus,
    Request,
    Shutdown,
    Start,
    Stop,
)
from dcf.supervision.states import ProcessState

REQUEST_LIMIT = 4 * 1024 * 1024
"""Maximum bytes of a request. Linux passes a program at most 2 MiB of arguments and variables."""

REPLY_LIMIT = 16 * 1024 * 1024
"""Maximum bytes of a line of a reply. The longest, a status with its reports, is far shorter."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

_ERRORS = {
    kind.__name__: kind
    for kind in (
        errors.SupervisorError,
        errors.SupervisorUnreachable,
        errors.RequestInvalid,
        errors.ProcessUnknown,
        errors.ProcessNotStarted,
        errors.ObserverTooSlow,
    )
}


_KINDS: dict[type, str] = {
    str: "a string",
    int: "an integer",
    bool: "true or false",
    list: "an array",
    dict: "an object",
}


class _Members:
    """The members of a JSON object, validated on access. Messages never show a value."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise RequestInvalid("expected a JSON object, got something else")
        self._members: dict[str, Any] = value

    def get(self, name: str, kind: type, default: object = None) -> Any:
        value = self._members.get(name, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._invalid(name, _KINDS[kind])
        return value

    def _invalid(self, name: str, expected: str) -> RequestInvalid:
        got = "another value" if name in self._members else "nothing"
        return RequestInvalid(f"`{name}`: expected {expected}, got {got}")

    def has(self, name: str) -> bool:
        return self._members.get(name) is not None

    def number(self, name: str, default: float | None = None) -> float:
        value = self._members.get(name, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= sys.float_info.max
        ):
            raise self._invalid(name, "a finite number that is not negative")
        return float(value)

    def count(self, name: str, default: int | None = None) -> int:
        value: int = self.get(name, int, default)
        if value < 0:
            raise self._invalid(name, "an integer that is not negative")
        return value

    def texts(self, name: str, default: list[str] | None = None) -> tuple[str, ...]:
        value = self.get(name, list, default)
        if not all(isinstance(part, str) for part in value):
            raise self._invalid(name, "an array of strings")
        return tuple(value)

    def name(self) -> str:
        value: str = self.get("name", str)
        if not _NAME.fullmatch(value):
            raise self._invalid("name", "1 to 128 letters, digits, '.', '_' or '-'")
        return value

    def part(self, name: str) -> _Members:
        return _Members(self.get(name, dict))


def request_line(request: Request) -> bytes:
    """Return the line of a request."""
    members = asdict(request)
    if isinstance(request, Start):
        members = members.pop("process")
    return _line({"do": type(request).__name__.lower(), **members})


def read_request(line: bytes) -> Request:
    """Read a line that :func:`request_line` wrote.

    Raises:
        RequestInvalid: If it is not a request.
    """
    members = _Members(_json(line))
    match members.get("do", str):
        case "start":
            return Start(_process(members))
        case "stop":
            return Stop(members.name(), members.number("grace"))
        case "list":
            return List()
        case "observe":
            return Observe()
        case "logs":
            tail = members.count("tail") if members.has("tail") else None
            since = members.number("since", 0.0)
            return Logs(members.name(), since, tail, members.get("follow", bool, default=False))
        case "shutdown":
            return Shutdown(members.number("grace"))
        case _:
            known = ", ".join(kind.__name__.lower() for kind in get_args(Request))
            raise RequestInvalid(f"`do`: expected one of {known}, got another value")


def _process(members: _Members) -> ProcessSpec:
    command = members.texts("command")
    env = members.get("env", dict)
    if not command:
        raise RequestInvalid("`command`: expected a program, got an empty array")
    if not all(isinstance(value, str) for value in env.values()):
        raise RequestInvalid("`env`: expected strings as values, got another value")
    log = members.part("log") if members.has("log") else _Members({})
    bound = LogBound()
    return ProcessSpec(
        name=members.name(),
        command=command,
        env=env,
        cwd=members.get("cwd", str),
        restart=_policy(members.part("restart")) if members.has("restart") else None,
        lifeline=members.get("lifeline", bool, default=False),
        reports=members.get("reports", bool, default=False),
        sockets=members.texts("sockets", []),
        stage=members.get("stage", int, 0),
        log=LogBound(
            file_bytes=max(1, log.count("file_bytes", bound.file_bytes)),
            files=max(1, log.count("files", bound.files)),
        ),
        note=members.get("note", str, ""),
        probe=_probe(members.part("probe")) if members.has("probe") else None,
    )


def _probe(members: _Members) -> Probe:
    default = LivenessRule()
    rule = members.part("rule") if members.has("rule") else _Members({})
    numbers = {
        field.name: rule.number(field.name, getattr(default, field.name))
        for field in fields(LivenessRule)
    }
    if not numbers["interval"]:
        raise RequestInvalid("`interval`: expected a number above 0, got 0")
    return Probe(
        members.get("socket", str), members.get("request", str, ""), LivenessRule(**numbers)
    )


def _policy(members: _Members) -> RestartPolicy:
    default = RestartPolicy()
    numbers = {
        field.name: members.number(field.name, getattr(default, field.name))
        for field in fields(RestartPolicy)
        if field.name != "limit"
    }
    limit = members.count("limit") if members.has("limit") else None
    return RestartPolicy(**numbers, limit=limit)


def item_line(item: Mapping[str, object]) -> bytes:
    """Return the line of a reply with an item."""
    return _line({"item": item})


def log_line(line: LogLine) -> bytes:
    """Return the line of a reply with a line of a log."""
    return item_line({"at": line.at, "text": line.text})


END_LINE = b'{"end": true}\n'
"""The last line of a reply."""


def error_line(error: SupervisorError) -> bytes:
    """Return the last line of the reply to a request that has failed."""
    return _line({"error": type(error).__name__, "detail": str(error)})


def read_reply(line: bytes) -> dict[str, Any] | None:
    """Read a line of a reply.

    Returns:
        The item; None at the end.

    Raises:
        SupervisorError: The error that the line carries, in its own class.
        SupervisorUnreachable: If it is not a line of a supervisor.
    """
    try:
        members = _json(line)
    except RequestInvalid as error:
        raise errors.SupervisorUnreachable(
            "expected the reply of a supervisor, got something else"
        ) from error
    if isinstance(members, dict):
        if isinstance(item := members.get("item"), dict):
            return item
        if members.get("end"):
            return None
        if kind := _ERRORS.get(str(members.get("error"))):
            raise kind(str(members.get("detail", "")))
    raise errors.SupervisorUnreachable("expected the reply of a supervisor, got something else")


def members_of(value: ProcessStatus | ProcessEvent | ExitRecord) -> dict[str, Any]:
    """Return a value as the members of a JSON object, without fields that have their default."""
    members = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if content != field.default:
            is_record = isinstance(content, ExitRecord)
            members[field.name] = members_of(content) if is_record else content
    return members


def exit_of(members: object) -> ExitRecord:
    """Read an exit that :func:`members_of` wrote.

    Raises:
        SupervisorUnreachable: If it is not an exit. The functions below raise the same.
    """
    with _of_a_supervisor():
        return _exit(_Members(members))


def status_of(members: object) -> ProcessStatus:
    """Read a status that :func:`members_of` wrote."""
    with _of_a_supervisor():
        given = _Members(members)
        return ProcessStatus(
            name=given.name(),
            state=ProcessState(given.get("state", str)),
            pid=given.count("pid", 0),
            since=given.number("since", 0.0),
            runs=given.count("runs", 0),
            reports=given.texts("reports", []),
            exit=_exit(given.part("exit")) if given.has("exit") else None,
            note=given.get("note", str, ""),
        )


def event_of(members: object) -> ProcessEvent:
    """Read an event that :func:`members_of` wrote."""
    with _of_a_supervisor():
        given = _Members(members)
        return ProcessEvent(
            kind=ProcessEventKind(given.get("kind", str)),
            name=given.name(),
            at=given.number("at"),
            pid=given.count("pid", 0),
            report=given.get("report", str, ""),
            exit=_exit(given.part("exit")) if given.has("exit") else None,
            delay=given.number("delay", 0.0),
            note=given.get("note", str, ""),
        )


def log_line_of(members: object) -> LogLine:
    """Read a line that :func:`log_line` wrote."""
    with _of_a_supervisor():
        given = _Members(members)
        return LogLine(given.number("at"), given.get("text", str))


def _exit(given: _Members) -> ExitRecord:
    return ExitRecord(
        code=given.get("code", int),
        at=given.number("at"),
        reason=given.get("reason", str),
        report=given.get("report", str, ""),
        asked=given.get("asked", bool, default=False),
    )


@contextlib.contextmanager
def _of_a_supervisor() -> Iterator[None]:
    try:
        yield
    except (RequestInvalid, ValueError) as error:
        raise errors.SupervisorUnreachable(
            f"expected the reply of a supervisor, got something else: {error}"
        ) from error


def _line(members: Mapping[str, object]) -> bytes:
    return json.dumps(members).encode() + b"\n"


def _json(line: bytes) -> Any:
    try:
        return read_json(line)
    except ValueError as error:
        raise RequestInvalid("expected a JSON object on one line, got something else") from error
