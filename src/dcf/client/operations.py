"""What is sent for each thing that a gateway can be asked, and how its answer is read.

Pure, so that the plain and the async client share it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from dcf.client.operation import Body, Operation, Result
from dcf.client.payload import AsyncData, body_of
from dcf.model.artifact import BundleFile
from dcf.model.event import Event
from dcf.model.names import check_name
from dcf.model.status import FunctionStatus, GatewayInfo, MissingBlob, ReplicaLine, RevisionStatus
from dcf.protocol import gateway, http
from dcf.telemetry.ids import new_request_id

MARGIN = 5.0
"""Seconds beyond a call's deadline in which the reply that it has passed may come."""

_PATH_SAFE = "/?:@!$&'()*+,;=%"


def call(
    name: str,
    data: AsyncData,
    *,
    method: str = "POST",
    path: str = "",
    headers: Mapping[str, str] | None = None,
    total: float | None = None,
    silence: float = math.inf,
) -> Operation[bytes]:
    """Calls a function.

    Args:
        name: The function's name.
        data: What its handler gets.
        method: The HTTP method.
        path: Path and query behind the function's name.
        headers: Further headers.
        total: Seconds until the deadline, which the function is told; None leaves it its own.
        silence: Seconds that may pass without a byte where there is no deadline.

    Raises:
        InvalidName: When there can be no such function.
        TypeError: When the data cannot be sent.
    """
    body, media_type, length = body_of(data)
    own = _own_headers(total) | {"content-type": media_type} | _lowered(headers)
    return Operation(
        method,
        _target(name, path),
        bytes,
        body,
        (*own.items(), *_framing(length)),
        math.inf if total is None else total + MARGIN,
        silence + MARGIN if total is None else math.inf,
        is_call=True,
    )


def stream(
    name: str,
    *,
    path: str = "",
    headers: Mapping[str, str] | None = None,
    total: float | None = None,
    silence: float = math.inf,
) -> Operation[bytes]:
    """Begins a stream with a function: the handshake of a WebSocket.

    Args:
        name: The function's name.
        path: Path and query behind it.
        headers: Further headers.
        total: Seconds until the whole stream must be over, which the function is told; None leaves
            it without an end.
        silence: Seconds that may pass without a byte.

    Raises:
        InvalidName: When there can be no such function.
    """
    return Operation(
        "GET",
        _target(name, path),
        bytes,
        headers=(*(_own_headers(total) | _lowered(headers)).items(),),
        total=math.inf if total is None else total + MARGIN,
        silence=silence + MARGIN,
        is_call=True,
    )


def functions() -> Operation[list[FunctionStatus]]:
    """Lists all functions."""
    return _get(gateway.FUNCTIONS, _list_of(gateway.function_of))


def function(name: str, *, total: float = math.inf) -> Operation[FunctionStatus]:
    """Tells of one function, within ``total`` seconds."""
    found = _get(gateway.FUNCTION + check_name(name), _one(gateway.function_of))
    return replace(found, total=total)


def revisions(name: str) -> Operation[list[RevisionStatus]]:
    """Lists a function's revisions."""
    return _get(_behind(name, gateway.REVISIONS), _list_of(gateway.revision_of))


def events(name: str) -> Operation[list[Event]]:
    """Lists what happened to a function."""
    return _get(_behind(name, gateway.EVENTS), _list_of(gateway.event_of))


def gateway_info() -> Operation[GatewayInfo]:
    """Tells of the gateway."""
    return _get(gateway.INFO, _one(gateway.info_of))


def scale(name: str, replicas: int | None) -> Operation[FunctionStatus]:
    """Sets how many replicas are wanted; None leaves that to the gateway."""
    members = {"name": check_name(name), "replicas": replicas}
    return send("PUT", gateway.SCALE, members, _one(gateway.function_of))


def rollback(name: str, revision: int | None) -> Operation[FunctionStatus]:
    """Makes an earlier revision the current one again."""
    return _change(name, gateway.ROLLBACK, {"revision": revision})


def promote(name: str) -> Operation[FunctionStatus]:
    """Makes the canary the current revision."""
    return _change(name, gateway.PROMOTE, {})


def abort(name: str) -> Operation[FunctionStatus]:
    """Ends the canary."""
    return _change(name, gateway.ABORT, {})


def delete(name: str) -> Operation[None]:
    """Takes a function away."""
    return Operation("DELETE", gateway.FUNCTION + check_name(name), _ignored)


def keys() -> Operation[list[dict[str, Any]]]:
    """Lists the keys."""
    return _get(gateway.KEYS, _list_of(dict))


def make_key(name: str) -> Operation[str]:
    """Makes a key."""
    return send("POST", gateway.KEYS, {"name": name}, lambda body: str(json.loads(body)["key"]))


def revoke_key(name: str) -> Operation[None]:
    """Makes a key useless."""
    return Operation("DELETE", f"{gateway.KEYS}/{quote(name, safe='')}", _ignored)


def logs(
    name: str, *, since: float, tail: int | None, follow: bool, replica: str
) -> Operation[bytes]:
    """Reads what a function's replicas printed; the lines are for :func:`read_line`."""
    asked: dict[str, object] = {"since": since, "follow": int(follow), "replica": replica}
    if tail is not None:
        asked["tail"] = tail
    given = {key: value for key, value in asked.items() if value or key == "tail"}
    query = f"?{urlencode(given)}" if given else ""
    target = f"{gateway.LOG}{check_name(name)}{query}"
    accept = (("accept", gateway.JSON_LINES),)
    return Operation("GET", target, bytes, headers=accept, silence=math.inf if follow else None)


def announce(
    files: Sequence[BundleFile], lock: str
) -> Operation[tuple[str, str, list[MissingBlob]]]:
    """Tells what is to be uploaded; the answer is the bundle's and the lock's digest, and which
    blobs are wanted.
    """

    def read(body: bytes) -> tuple[str, str, list[MissingBlob]]:
        members = json.loads(body)
        wanted = [gateway.missing_blob_of(one) for one in members["missing"]]
        return str(members["bundle"]), str(members["lock"]), wanted

    return send("POST", gateway.UPLOADS, gateway.upload(files, lock), read)


def put_blob(digest: str, offset: int, length: int, body: Body) -> Operation[None]:
    """Sends the rest of a blob, from ``offset`` on."""
    return Operation(
        "PUT",
        f"{gateway.BLOBS}{digest}?offset={offset}",
        _ignored,
        body,
        _framing(length),
    )


def send(
    method: str, target: str, members: object, read: Callable[[bytes], Result]
) -> Operation[Result]:
    """A request with a body of JSON."""
    body = json.dumps(members).encode()
    return Operation(
        method, target, read, body, (("content-type", http.JSON), *_framing(len(body)))
    )


def read_line(line: bytes) -> ReplicaLine:
    """Reads a line of a log.

    Raises:
        AnswerInvalid: When it is none.
    """
    return Operation("GET", gateway.LOG, _one(gateway.line_of)).parsed(line)


def _target(name: str, path: str) -> str:
    behind = quote(path, safe=_PATH_SAFE)
    slash = "/" if behind and behind[0] not in "/?" else ""
    return f"{http.FUNCTION_PREFIX}{check_name(name)}{slash}{behind}"


def _own_headers(total: float | None) -> dict[str, str]:
    """Id and deadline of a call or stream."""
    own = {http.REQUEST_ID: new_request_id().decode()}
    if total is not None and not math.isinf(total):
        own[http.DEADLINE_MS] = str(max(1, round(total * 1000)))
    return own


def _lowered(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {key.lower(): value for key, value in (headers or {}).items()}


def _framing(length: int | None) -> tuple[tuple[str, str], ...]:
    if length is None:
        return (("transfer-encoding", "chunked"),)
    return (("content-length", str(length)),)


def _get(target: str, read: Callable[[bytes], Result]) -> Operation[Result]:
    return Operation("GET", target, read)


def _change(name: str, path: str, members: object) -> Operation[FunctionStatus]:
    return send("POST", _behind(name, path), members, _one(gateway.function_of))


def _behind(name: str, path: str) -> str:
    return f"{gateway.FUNCTION}{check_name(name)}{path}"


def _one(read: Callable[[Any], Result]) -> Callable[[bytes], Result]:
    return lambda body: read(json.loads(body))


def _list_of(read: Callable[[Any], Result]) -> Callable[[bytes], list[Result]]:
    return lambda body: [read(one) for one in json.loads(body)]


def _ignored(_body: bytes) -> None:
    """Nothing in the reply matters."""
