"""The requests of a gateway's HTTP interface, and how their replies are read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from dcf.client.operation import Operation, Result, framing
from dcf.client.payload import AsyncData, body_of
from dcf.client.pool import Body
from dcf.model.artifact import BundleFile
from dcf.model.event import Event
from dcf.model.names import check_name
from dcf.model.status import FunctionStatus, GatewayInfo, MissingBlob, ReplicaLine, RevisionStatus
from dcf.protocol import gateway, http, routes
from dcf.protocol.routes import ApiRoute
from dcf.telemetry.ids import new_request_id

MARGIN = 5.0
"""Seconds after a call's deadline in which the gateway's own DeadlineExceeded may arrive."""

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
    """Return the call of a function.

    Args:
        name: The function's name.
        data: The handler's input.
        method: The HTTP method.
        path: Path and query after the function's name.
        headers: Additional headers.
        total: Seconds until the deadline, which is sent to the function; None for no deadline but
            the function's own.
        silence: Seconds that may pass without a byte if there is no deadline.

    Raises:
        InvalidName: When the name is not valid.
        TypeError: When the data cannot be sent.
    """
    body, media_type, length = body_of(data)
    own = _own_headers(total) | {"content-type": media_type} | _lowered(headers)
    return Operation(
        method,
        _target(name, path),
        bytes,
        body,
        (*own.items(), *framing(length)),
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
    """Return the request that opens a stream to a function: the handshake of a WebSocket.

    Args:
        name: The function's name.
        path: Path and query after the name.
        headers: Additional headers.
        total: Seconds until the whole stream must be over, which is sent to the function; None for
            no limit.
        silence: Seconds that may pass without a byte.

    Raises:
        InvalidName: When the name is not valid.
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
    """Return all functions."""
    return _request(routes.LIST_FUNCTIONS, _list_of(gateway.function_of))


def function(name: str, *, total: float = math.inf) -> Operation[FunctionStatus]:
    """Return one function, within ``total`` seconds."""
    operation = _request(routes.SHOW_FUNCTION, _one(gateway.function_of), name)
    return replace(operation, total=total)


def revisions(name: str) -> Operation[list[RevisionStatus]]:
    """Return a function's revisions."""
    return _request(routes.LIST_REVISIONS, _list_of(gateway.revision_of), name)


def events(name: str) -> Operation[list[Event]]:
    """Return a function's events."""
    return _request(routes.LIST_EVENTS, _list_of(gateway.event_of), name)


def gateway_info() -> Operation[GatewayInfo]:
    """Return the gateway's version and state."""
    return _request(routes.INFO, _one(gateway.info_of))


def scale(name: str, replicas: int | None) -> Operation[FunctionStatus]:
    """Set the number of replicas; None returns to automatic scaling."""
    members = {"name": check_name(name), "replicas": replicas}
    return send(routes.SCALE, members, _one(gateway.function_of))


def rollback(name: str, revision: int | None) -> Operation[FunctionStatus]:
    """Make an earlier revision the current one."""
    return send(routes.ROLL_BACK, {"revision": revision}, _one(gateway.function_of), name)


def promote(name: str) -> Operation[FunctionStatus]:
    """Make the canary the current revision."""
    return send(routes.PROMOTE, {}, _one(gateway.function_of), name)


def abort(name: str) -> Operation[FunctionStatus]:
    """End the canary."""
    return send(routes.ABORT, {}, _one(gateway.function_of), name)


def delete(name: str) -> Operation[None]:
    """Delete a function."""
    return _request(routes.DELETE_FUNCTION, _ignored, name)


def keys() -> Operation[list[dict[str, Any]]]:
    """Return the keys."""
    return _request(routes.LIST_KEYS, _list_of(dict))


def make_key(name: str) -> Operation[str]:
    """Create a key."""
    return send(routes.MAKE_KEY, {"name": name}, lambda body: str(json.loads(body)["key"]))


def revoke_key(name: str) -> Operation[None]:
    """Revoke a key."""
    return Operation(routes.REVOKE_KEY.method, routes.REVOKE_KEY.target(name=name), _ignored)


def logs(
    name: str, *, since: float, tail: int | None, follow: bool, replica: str
) -> Operation[ReplicaLine]:
    """Return the log of a function's replicas. Each line of the reply is a result."""
    options: dict[str, object] = {"since": since, "follow": int(follow), "replica": replica}
    if tail is not None:
        options["tail"] = tail
    given = {key: value for key, value in options.items() if value or key == "tail"}
    query = f"?{urlencode(given)}" if given else ""
    target = routes.READ_LOG.target(name=check_name(name)) + query
    accept = (("accept", gateway.JSON_LINES),)
    return Operation(
        routes.READ_LOG.method,
        target,
        _one(gateway.line_of),
        headers=accept,
        silence=math.inf if follow else None,
    )


def announce(
    files: Sequence[BundleFile], lock: str
) -> Operation[tuple[str, str, list[MissingBlob]]]:
    """Announce an upload.

    The result is the digest of the bundle, the digest of the lock, and the blobs that the gateway
    lacks.
    """

    def read(body: bytes) -> tuple[str, str, list[MissingBlob]]:
        members = json.loads(body)
        missing = [gateway.missing_blob_of(blob) for blob in members["missing"]]
        return str(members["bundle"]), str(members["lock"]), missing

    return send(routes.ANNOUNCE, gateway.upload(files, lock), read)


def put_blob(digest: str, offset: int, length: int, body: Body) -> Operation[None]:
    """Send the rest of a blob, starting at ``offset``."""
    return Operation(
        routes.SEND_BLOB.method,
        f"{routes.SEND_BLOB.target(digest=digest)}?offset={offset}",
        _ignored,
        body,
        framing(length),
    )


def send(
    route: ApiRoute, members: object, read: Callable[[bytes], Result], name: str | None = None
) -> Operation[Result]:
    """Return a request with a JSON body, to a function if a name is given."""
    body = json.dumps(members).encode()
    headers = (("content-type", http.JSON), *framing(len(body)))
    return replace(_request(route, read, name), body=body, headers=headers)


def _target(name: str, path: str) -> str:
    behind = quote(path, safe=_PATH_SAFE)
    slash = "/" if behind and behind[0] not in "/?" else ""
    return f"{http.FUNCTION_PREFIX}{check_name(name)}{slash}{behind}"


def _own_headers(total: float | None) -> dict[str, str]:
    """Return the id and the deadline of a call or stream."""
    own = {http.REQUEST_ID: new_request_id().decode()}
    if total is not None and not math.isinf(total):
        own[http.DEADLINE_MS] = str(max(1, round(total * 1000)))
    return own


def _lowered(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {key.lower(): value for key, value in (headers or {}).items()}


def _request(
    route: ApiRoute, read: Callable[[bytes], Result], name: str | None = None
) -> Operation[Result]:
    """Return a request without a body, to a function if a name is given."""
    target = route.path if name is None else route.target(name=check_name(name))
    return Operation(route.method, target, read)


def _one(read: Callable[[Any], Result]) -> Callable[[bytes], Result]:
    return lambda body: read(json.loads(body))


def _list_of(read: Callable[[Any], Result]) -> Callable[[bytes], list[Result]]:
    return lambda body: [read(members) for members in json.loads(body)]


def _ignored(_body: bytes) -> None:
    """Ignore the content of the reply."""
