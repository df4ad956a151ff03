"""What is sent for each thing that a gateway can be asked, and how its answer is read.

Pure, so that the plain and the async client share it.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from dcf.client.exchange import Head, Patience
from dcf.client.payload import AsyncData, body_of
from dcf.errors import AnswerInvalid, DcfError, GatewayUnreachable, ReplicaLost
from dcf.model.artifact import BundleFile
from dcf.model.event import Event
from dcf.model.names import check_name
from dcf.model.status import FunctionStatus, GatewayInfo, ReplicaLine, RevisionStatus, Wanting
from dcf.protocol import gateway, http
from dcf.protocol.problem import from_problem
from dcf.telemetry.ids import new_request_id

MARGIN = 5.0
"""Seconds beyond a call's deadline in which the reply that it has passed may come."""

Body = bytes | Iterable[bytes]
Result = TypeVar("Result")

_PATH_SAFE = "/?:@!$&'()*+,;=%"


@dataclass(frozen=True, slots=True)
class Operation(Generic[Result]):
    """One request.

    Attributes:
        method: The HTTP method.
        target: Path and query.
        read: Makes the result of the reply's body.
        body: What is sent.
        headers: Names and values, the framing's among them.
        total: Seconds until the whole reply must be there.
        silence: Seconds that may pass without a byte; None leaves it to the client.
        is_call: Whether a function answers, rather than the gateway.
    """

    method: str
    target: str
    read: Callable[[bytes], Result]
    body: Body | AsyncIterable[bytes] = b""
    headers: tuple[tuple[str, str], ...] = ()
    total: float = math.inf
    silence: float | None = None
    is_call: bool = False

    def may_repeat(self, *, sent: bool) -> bool:
        """Whether it can do no harm to send it again over a new connection.

        For a connection that was kept open and closed by the gateway at this very moment.

        Args:
            sent: Whether it was sent whole, so that the gateway may have acted on it.
        """
        is_harmless = self.method == "GET" and not self.is_call
        return isinstance(self.body, bytes) and (is_harmless or not sent)

    def patience(self, usual: float) -> Patience:
        """How long to wait, from now on; ``usual`` where the operation sets no silence."""
        silence = usual if self.silence is None else self.silence
        return Patience(total=self.total, silence=silence)

    def result(self, head: Head, body: bytes) -> Result:
        """What a whole reply says.

        Raises:
            DcfError: When its status is an error's.
            AnswerInvalid: When it cannot be read.
        """
        if head.status >= 400:  # noqa: PLR2004  errors begin there
            raise self.refusal(head, body)
        return self.parsed(body)

    def parsed(self, body: bytes) -> Result:
        """What a body, or a line of one, says.

        Raises:
            AnswerInvalid: When it cannot be read.
        """
        try:
            return self.read(body)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise AnswerInvalid(
                f"the answer to {self.method} {self.target} cannot be read; is this a gateway of"
                f" DCF? It begins with {_excerpt(body)}"
            ) from error

    def broken(self, reason: object) -> DcfError:
        """The error that the connection broke."""
        if self.is_call:
            return ReplicaLost(f"the connection broke during the call: {reason}")
        return GatewayUnreachable(f"the connection to the gateway broke: {reason}")

    def is_refused(self, head: Head) -> bool:
        """Whether the reply is an error: for a call, one that no handler chose."""
        return is_problem(head) or (not self.is_call and head.status >= 300)  # noqa: PLR2004  success ends there

    def refusal(self, head: Head, body: bytes) -> DcfError:
        """The error that such a reply is."""
        if self.is_call or is_problem(head):
            return from_problem(head.status, body)
        return AnswerInvalid(
            f"what answers is no gateway of DCF: HTTP {head.status} for"
            f" {self.method} {self.target}: {_excerpt(body)}"
        )


def is_problem(head: Head) -> bool:
    """Whether the reply is a problem document."""
    return head.headers.get("content-type", "").partition(";")[0].strip() == http.PROBLEM


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
    own = {http.REQUEST_ID: new_request_id().decode(), "content-type": media_type}
    if total is not None and not math.isinf(total):
        own[http.DEADLINE_MS] = str(max(1, round(total * 1000)))
    own.update((key.lower(), value) for key, value in (headers or {}).items())
    behind = quote(path, safe=_PATH_SAFE)
    slash = "/" if behind and behind[0] not in "/?" else ""
    return Operation(
        method,
        f"{http.FUNCTION_PREFIX}{check_name(name)}{slash}{behind}",
        bytes,
        body,
        (*own.items(), *_framing(length)),
        math.inf if total is None else total + MARGIN,
        silence + MARGIN if total is None else math.inf,
        is_call=True,
    )


def functions() -> Operation[list[FunctionStatus]]:
    """Lists all functions."""
    return _get(gateway.FUNCTIONS, _list_of(gateway.function_of))


def function(name: str) -> Operation[FunctionStatus]:
    """Tells of one function."""
    return _get(gateway.FUNCTION + check_name(name), _one(gateway.function_of))


def revisions(name: str) -> Operation[list[RevisionStatus]]:
    """Lists a function's revisions."""
    return _get(f"{gateway.FUNCTION}{check_name(name)}/revisions", _list_of(gateway.revision_of))


def events(name: str) -> Operation[list[Event]]:
    """Lists what happened to a function."""
    return _get(f"{gateway.FUNCTION}{check_name(name)}/events", _list_of(gateway.event_of))


def gateway_info() -> Operation[GatewayInfo]:
    """Tells of the gateway."""
    return _get(gateway.INFO, _one(gateway.info_of))


def scale(name: str, replicas: int) -> Operation[FunctionStatus]:
    """Sets how many replicas are wanted."""
    members = {"name": check_name(name), "replicas": replicas}
    return send("PUT", gateway.SCALE, members, _one(gateway.function_of))


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


def announce(files: Sequence[BundleFile], lock: str) -> Operation[tuple[str, str, list[Wanting]]]:
    """Tells what is to be uploaded; the answer is the bundle's and the lock's digest, and which
    blobs are wanted.
    """

    def read(body: bytes) -> tuple[str, str, list[Wanting]]:
        members = json.loads(body)
        wanted = [gateway.wanting_of(one) for one in members["missing"]]
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


def _framing(length: int | None) -> tuple[tuple[str, str], ...]:
    if length is None:
        return (("transfer-encoding", "chunked"),)
    return (("content-length", str(length)),)


def _get(target: str, read: Callable[[bytes], Result]) -> Operation[Result]:
    return Operation("GET", target, read)


def _one(read: Callable[[Any], Result]) -> Callable[[bytes], Result]:
    return lambda body: read(json.loads(body))


def _list_of(read: Callable[[Any], Result]) -> Callable[[bytes], list[Result]]:
    return lambda body: [read(one) for one in json.loads(body)]


def _ignored(_body: bytes) -> None:
    """Nothing in the reply matters."""


def _excerpt(body: bytes) -> str:
    return repr(body[:80].decode(errors="replace"))
