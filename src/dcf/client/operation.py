"""One request to a gateway, and how its answer is read."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dcf.client.http11 import Head, Timeout
from dcf.errors import AnswerInvalid, DcfError, GatewayUnreachable, ReplicaLost
from dcf.protocol import http
from dcf.protocol.problem import from_problem

Body = bytes | Iterable[bytes]
Result = TypeVar("Result")


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

    def timeout(self, usual: float) -> Timeout:
        """How long to wait, from now on; ``usual`` where the operation sets no silence."""
        silence = usual if self.silence is None else self.silence
        return Timeout(total=self.total, silence=silence)

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


def _excerpt(body: bytes) -> str:
    return repr(body[:80].decode(errors="replace"))
