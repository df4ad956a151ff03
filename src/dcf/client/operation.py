"""One request, and how its reply is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dcf.client.http11 import Head
from dcf.client.pool import Body
from dcf.errors import AnswerInvalid, DcfError, GatewayUnreachable, ReplicaLost
from dcf.protocol import http
from dcf.protocol.problem import from_problem

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Operation(Generic[Result]):
    """One request.

    Attributes:
        method: The HTTP method.
        target: Path and query.
        read: Makes the result from the reply's body.
        body: The request's body.
        headers: Names and values, including those that say the body's length.
        total: Seconds until the whole reply must have arrived.
        silence: Seconds that may pass without a byte; None uses the client's timeout.
        is_call: Whether a function answers, and not the gateway.
    """

    method: str
    target: str
    read: Callable[[bytes], Result]
    body: Body = b""
    headers: tuple[tuple[str, str], ...] = ()
    total: float = math.inf
    silence: float | None = None
    is_call: bool = False

    def may_repeat(self, *, sent: bool) -> bool:
        """Return whether the request may be sent again after its connection was closed.

        Args:
            sent: Whether it was sent completely, so that the gateway may have acted on it.
        """
        is_safe = self.method == "GET" and not self.is_call
        return isinstance(self.body, bytes) and (is_safe or not sent)

    def result(self, head: Head, body: bytes) -> Result:
        """Return the result of a whole reply.

        Raises:
            DcfError: When its status is an error.
            AnswerInvalid: When its body cannot be parsed.
        """
        if head.status >= 400:  # noqa: PLR2004  the first status of an error
            raise self.error(head, body)
        return self.parse(body)

    def parse(self, body: bytes) -> Result:
        """Parse a body, or one line of it.

        Raises:
            AnswerInvalid: When that fails.
        """
        try:
            return self.read(body)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise AnswerInvalid(
                f"expected the reply of a DCF gateway to {self.method} {self.target}, got"
                f" {_excerpt(body)}"
            ) from error

    def broken(self, reason: object) -> DcfError:
        """Return the error for a connection that broke."""
        if self.is_call:
            return ReplicaLost(f"the connection broke during the call: {reason}")
        return GatewayUnreachable(f"the connection to the gateway broke: {reason}")

    def is_error(self, head: Head) -> bool:
        """Return whether a reply is an error. A handler may choose any status for its reply."""
        return _is_problem(head) or (not self.is_call and head.status >= 300)  # noqa: PLR2004  success is below

    def error(self, head: Head, body: bytes) -> DcfError:
        """Return the error that a reply describes."""
        if self.is_call or _is_problem(head):
            return from_problem(head.status, body)
        return AnswerInvalid(
            f"expected the reply of a DCF gateway to {self.method} {self.target}, got HTTP"
            f" {head.status}: {_excerpt(body)}"
        )


def framing(length: int | None) -> tuple[tuple[str, str], ...]:
    """Return the header that says how long a body is; None sends it in chunks."""
    if length is None:
        return (("transfer-encoding", "chunked"),)
    return (("content-length", str(length)),)


def _is_problem(head: Head) -> bool:
    return head.headers.get("content-type", "").partition(";")[0].strip() == http.PROBLEM


def _excerpt(body: bytes) -> str:
    return repr(body[:80].decode(errors="replace"))
