"""How a WebSocket begins, or is refused (RFC 6455, 4.2)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from dcf.errors import BadRequest, DcfError
from dcf.protocol.stream import SUBPROTOCOL
from dcf.watcher.http.responses import Headers, refusal
from dcf.watcher.http.writing import whole_reply


def accept(protocol: ServerProtocol, method: str, headers: Headers) -> Response:
    """The answer with which the connection changes over, to be added to and sent.

    Args:
        protocol: Takes the request in.
        method: The request's method.
        headers: The request's, names in lower case.

    Raises:
        BadRequest: When the request is no handshake.
    """
    # Of all that a request may carry the library sees what it looks at: it has bounds of its own
    # for the rest.
    lines = [b"%b / HTTP/1.1" % method.encode("ascii")]
    lines += [b"%b: %b" % header for header in headers if _is_of_handshake(header[0])]
    protocol.receive_data(b"\r\n".join((*lines, b"", b"")))
    for event in protocol.events_received():
        if isinstance(event, Request):
            response = protocol.accept(event)
            if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                return response
    raise BadRequest(f"this is no WebSocket handshake: {protocol.handshake_exc}")


def refuse(error: DcfError, method: str, headers: Headers) -> bytes:
    """The reply that there is no WebSocket, as for any call that is not let in."""
    reply = refusal(error, None, headers)
    return b"".join(whole_reply(*reply, head=method == "HEAD", last=True))


def select(_protocol: ServerProtocol, offered: Any) -> Any:
    """Our subprotocol, where a client offers it; of others we know none."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def _is_of_handshake(name: bytes) -> bool:
    return name in {b"connection", b"upgrade"} or name.startswith(b"sec-websocket-")
