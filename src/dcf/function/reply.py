"""The values that a handler may return, and their encoding."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dcf.errors import UnsupportedReply
from dcf.protocol import http

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_CONNECTION_HEADERS = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers with which a server frames a reply and manages its connection (RFC 9110, 7.6.1)."""


class MessageKind(Enum):
    """Kind of a message of a stream."""

    BINARY = 0
    """Bytes, an encoded image or an encoded array."""
    TEXT = 1
    """A str."""
    JSON = 2
    """A dict or a list."""


_REQUEST_ID = http.REQUEST_ID.encode()
_KINDS = {http.TEXT: MessageKind.TEXT, http.JSON: MessageKind.JSON}


class Reply:
    """A reply with its own status, content type or headers."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: Any = b"",
        content_type: str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Create a reply.

        Args:
            body: bytes, str, dict, list, PIL image, NumPy array, or a generator of these.
            content_type: The media type; None takes the default of the body's type.
            status: The HTTP status, 200 to 599.
            headers: Further headers.
        """
        self.body = body
        self.content_type = content_type
        self.status = status
        self.headers = headers or {}


@dataclass(slots=True)
class Encoded:
    """An encoded reply.

    Attributes:
        body: The whole body, or an iterator whose items :func:`encode_chunk` encodes.
        content_type: The media type as a header's value.
        status: The HTTP status.
        headers: Further headers, validated.
    """

    body: bytes | Iterator[Any] | AsyncIterator[Any]
    content_type: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


def encode(value: Any) -> Encoded:
    """Encode the value that a handler returned.

    Raises:
        UnsupportedReply: If it cannot be sent. The message names its type and the allowed types.
    """
    if type(value) is bytes:
        return Encoded(value, b"application/octet-stream")
    try:
        if isinstance(value, Reply):
            return _encode_reply(value)
        body, content_type = _encode_body(value)
    except UnsupportedReply:
        raise
    except Exception as error:  # user objects may raise anything
        raise _not_encoded(error) from error
    return Encoded(body, content_type.encode())


def encode_chunk(value: Any) -> bytes:
    """Encode one item of a generator. A dict or list becomes a line of JSON.

    Raises:
        UnsupportedReply: As :func:`encode`.
    """
    if type(value) is bytes:
        return value
    try:
        if isinstance(value, dict | list):
            return _json(value) + b"\n"
        body, _ = _encode_body(value)
    except UnsupportedReply:
        raise
    except Exception as error:  # as in encode
        raise _not_encoded(error) from error
    if isinstance(body, bytes):
        return body
    raise UnsupportedReply("expected one item of a generator, got another generator")


def encode_message(value: Any) -> tuple[bytes, MessageKind]:
    """Encode one reply of a stream. Only the body of a Reply is sent.

    Raises:
        UnsupportedReply: As :func:`encode`.
    """
    if type(value) is bytes:
        return value, MessageKind.BINARY
    try:
        body, content_type = _encode_body(value.body if isinstance(value, Reply) else value)
    except UnsupportedReply:
        raise
    except Exception as error:  # as in encode
        raise _not_encoded(error) from error
    if isinstance(body, bytes):
        return body, _KINDS.get(content_type, MessageKind.BINARY)
    raise UnsupportedReply("expected one message of a stream, got a generator")


def _not_encoded(error: Exception) -> UnsupportedReply:
    """Return the error for a value that raised while it was being encoded."""
    try:
        reason = f"{_name(error)}: {error}"
    except Exception:  # noqa: BLE001  as in encode
        reason = _name(error)
    return UnsupportedReply(f"the reply could not be encoded: {reason}")


def _encode_reply(reply: Reply) -> Encoded:
    body, default_type = _encode_body(reply.body)
    status: object = reply.status
    if not isinstance(status, int) or not 200 <= status <= 599:  # noqa: PLR2004
        raise UnsupportedReply(f"the status of a Reply: expected 200 to 599, got {status!r:.80}")
    content_type = _header("content-type", reply.content_type or default_type)[1]
    headers = tuple(_header(name, value) for name, value in reply.headers.items())
    # A call has one id, the caller's or the server's. A handler that forwards another server's
    # headers must not change it.
    headers = tuple(header for header in headers if header[0] != _REQUEST_ID)
    return Encoded(body, content_type, int(status), headers)


def _header(name: object, value: object) -> tuple[bytes, bytes]:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise UnsupportedReply(
            f"{name!r:.200} cannot be a header of a Reply: expected letters, digits and hyphens"
        )
    if name.lower() in _CONNECTION_HEADERS:
        raise UnsupportedReply(f"{name!r} cannot be a header of a Reply: the server sets it")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise UnsupportedReply(
            f"the header {name} of a Reply: expected a str without control characters,"
            f" got {value!r:.200}"
        )
    return name.lower().encode(), _in_utf8(value, f"the header {name} of a Reply")


def _in_utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        character = text[error.start]
        raise UnsupportedReply(
            f"{what}: expected text, got {character!r} at position {error.start}, which is half of"
            " a character (a surrogate)"
        ) from error


def _encode_body(value: Any) -> tuple[bytes | Iterator[Any] | AsyncIterator[Any], str]:
    match value:
        case bytes() | bytearray() | memoryview():
            return bytes(value), http.BINARY
        case str():
            return _text(value), http.TEXT
        case dict() | list():
            return _json(value), http.JSON
    if _is(value, "PIL.Image", "Image"):
        image = io.BytesIO()
        value.save(image, "PNG")
        return image.getvalue(), http.PNG
    if _is(value, "numpy", "ndarray"):
        array = io.BytesIO()
        try:
            sys.modules["numpy"].save(array, value, allow_pickle=False)
        except ValueError as error:
            raise UnsupportedReply(f"the array cannot be sent as .npy: {error}") from error
        return array.getvalue(), http.NPY
    if isinstance(value, Iterator | AsyncIterator):
        return value, http.BINARY
    given = f"a value of type {_name(value)}"
    if value is None:
        given = "None (is a return missing?)"
    raise UnsupportedReply(
        "the handler's reply: expected bytes, str, dict, list, a PIL image, a NumPy array, Reply,"
        f" or a generator of these, got {given}"
    )


def _text(value: str) -> bytes:
    try:
        # os.fsdecode maps bytes that are not UTF-8 to surrogates; restore the bytes.
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _in_utf8(value, "the reply")


def _is(value: Any, module: str, name: str) -> bool:
    """Return whether ``value`` is of a class in a library, without importing the library."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_no_json).encode()
    except (ValueError, TypeError, RecursionError) as error:
        # NaN, a circular reference, a key that is not a string, a lone surrogate, too deep nesting
        raise UnsupportedReply(f"the handler's reply cannot be encoded as JSON: {error}") from error


def _no_json(value: Any) -> Any:
    advice = "convert it to a str, number, list or dict"
    if _is(value, "numpy", "generic") or _is(value, "numpy", "ndarray"):
        advice = "use its .item() or .tolist()"
    raise UnsupportedReply(
        "the handler's reply: expected values that JSON can represent, got a value of type"
        f" {_name(value)}; {advice}"
    )


def _name(value: Any) -> str:
    kind = type(value)
    prefix = "" if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}."
    return f"{prefix}{kind.__qualname__}"
