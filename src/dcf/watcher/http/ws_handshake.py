"""Accept or reject a WebSocket handshake (RFC 6455, 4.2)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from dcf.errors import BadRequest, DcfError
from dcf.protocol.stream import SUBPROTOCOL
from dcf.watcher.http.responses import Headers, refusal
from dcf.watcher.http.third_party import Request, Response, ServerProtocol
from dcf.watcher.http.writing import write_response


def accept(protocol: ServerProtocol, method: str, headers: Headers) -> Response:
    """Return the response that completes a handshake. The caller may add headers, and sends it.

    Args:
        protocol: Receives the request.
        method: The request's method.
        headers: The request's headers, names in lower case.

    Raises:
        BadRequest: If the request is not a valid handshake.
    """
    # Pass on only the headers that the library reads, because it has limits for all headers.
    lines = [b"%b / HTTP/1.1" % method.encode("ascii")]
    lines += [b"%b: %b" % header for header in headers if _is_of_handshake(header[0])]
    protocol.receive_data(b"\r\n".join((*lines, b"", b"")))
    for event in protocol.events_received():
        if isinstance(event, Request):
            try:
                response = protocol.accept(event)
            except UnicodeEncodeError:  # websockets up to 16 cannot quote bytes that are not UTF-8
                break
            if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                return response
    raise BadRequest(f"invalid WebSocket handshake: {protocol.handshake_exc}")


def refuse(error: DcfError, method: str, headers: Headers) -> bytes:
    """Return the HTTP reply that rejects a handshake with ``error``."""
    response, parts = refusal(error, None, headers), list[bytes]()
    write_response(parts.append, response, head=method == "HEAD", last=True)
    return b"".join(parts)


def select(_protocol: ServerProtocol, offered: Any) -> Any:
    """Select ``dcf.v1`` if the client offers it, otherwise no subprotocol."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def _is_of_handshake(name: bytes) -> bool:
    return name in {b"connection", b"upgrade"} or name.startswith(b"sec-websocket-")
