"""The usual reply, whole and small, in one write: one system call and one packet, not two.

ASGI has a reply's head and body sent one after the other, and uvicorn writes each at once. For a
small reply the second passage through the network stack, and the checks that uvicorn makes of every
header, cost as much as all of the watcher's own work on a call (figures:
docs/decisions/0003-http-server.md). Here the headers are our own or were checked when the reply was
encoded.

This reaches into uvicorn's request-response cycle, so it takes only the plain case and leaves every
other to uvicorn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from dcf.watcher.call import Message

WORTH_JOINING = 64 * 1024
"""Bytes of a body up to which copying it behind its head is cheaper than a second write."""

WITHOUT_BODY = frozenset({204, 304})
"""Statuses whose replies have no body (RFC 9110, 6.4.1)."""


def write_whole(
    send: Callable[[Message], Awaitable[None]],
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
) -> bool:
    """Writes a reply, if that can be done in one go.

    Args:
        send: ASGI's ``send`` of a request on a connection that stays open.
        status: The HTTP status.
        headers: All headers but ``content-length``; names and values are taken as they are.
        body: The whole body.

    Returns:
        Whether it was written. If not, nothing was, and ASGI's own way is to be taken.
    """
    cycle = getattr(send, "__self__", None)
    if (
        type(cycle) is not RequestResponseCycle
        or len(body) > WORTH_JOINING
        or status in WITHOUT_BODY
        or cycle.disconnected
        or cycle.flow.write_paused
        or not cycle.keep_alive
        or cycle.waiting_for_100_continue
        or cycle.scope["method"] == "HEAD"
    ):
        return False
    parts = [STATUS_LINE[status]]
    parts += [b"%b: %b\r\n" % header for header in headers]
    parts.append(b"content-length: %d\r\n\r\n" % len(body))
    parts.append(body)
    cycle.transport.write(b"".join(parts))
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True
