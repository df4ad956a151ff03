"""What a handler may return, and how each kind becomes bytes on the wire."""

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
_OF_THE_CONNECTION = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers by which a server frames a reply and keeps its connection (RFC 9110, 7.6.1)."""


class ReplyKind(Enum):
    """What a message of a stream is, beside its bytes."""

    BINARY = 0
    """Bytes, and what becomes bytes: a picture, an array."""
    TEXT = 1
    """A str."""
    JSON = 2
    """A dict or a list."""


_REQUEST_ID = http.REQUEST_ID.encode()
_KINDS = {http.TEXT: ReplyKind.TEXT, http.JSON: ReplyKind.JSON}


class Reply:
    """A reply with more to say than its body."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: Any = b"",
        content_type: str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Any body that a handler may return, and what goes with it.

        Args:
            body: bytes, str, dict, list, PIL image, NumPy array, or a generator of these.
            content_type: The media type; None takes the one that fits the body.
            status: The HTTP status, 200 to 599.
            headers: Further headers.
        """
        self.body = body
        self.content_type = content_type
        self.status = status
        self.headers = headers or {}


@dataclass(slots=True)
class Encoded:
    """A reply as it goes on the wire.

    Attributes:
        body: The whole body, or an iterator whose items go through :func:`encode_chunk`.
        content_type: The media type, ready for a header.
        status: The HTTP status.
        headers: Further headers, checked.
    """

    body: bytes | Iterator[Any] | AsyncIterator[Any]
    content_type: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


def encode(value: Any) -> Encoded:
    """What the handler returned, as it goes on the wire.

    Raises:
        UnsupportedReply: Naming what was found and what is allowed.
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
    """One item of a generator as bytes; a dict or list becomes a line of JSON.

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
    raise UnsupportedReply("a generator yielded another generator")


def encode_message(value: Any) -> tuple[bytes, ReplyKind]:
    """One reply of a stream as bytes, and what they are. Of a Reply, its body alone is sent.

    Raises:
        UnsupportedReply: As :func:`encode`.
    """
    if type(value) is bytes:
        return value, ReplyKind.BINARY
    try:
        body, content_type = _encode_body(value.body if isinstance(value, Reply) else value)
    except UnsupportedReply:
        raise
    except Exception as error:  # as in encode
        raise _not_encoded(error) from error
    if isinstance(body, bytes):
        return body, _KINDS.get(content_type, ReplyKind.BINARY)
    raise UnsupportedReply("one message of a stream cannot be a stream itself")


def _not_encoded(error: Exception) -> UnsupportedReply:
    """Return the error for a value that raised while it was being encoded."""
    try:
        reason = f"{_name(error)}: {error}"
    except Exception:  # noqa: BLE001  as in encode
        reason = _name(error)
    return UnsupportedReply(f"the reply could not be encoded: {reason}")


def _encode_reply(reply: Reply) -> Encoded:
    body, fitting = _encode_body(reply.body)
    status: object = reply.status
    if not isinstance(status, int) or not 200 <= status <= 599:  # noqa: PLR2004
        raise UnsupportedReply(f"the status of a Reply is {status!r}, not 200 to 599")
    content_type = _header("content-type", reply.content_type or fitting)[1]
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
    if name.lower() in _OF_THE_CONNECTION:
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
        found = text[error.start]
        raise UnsupportedReply(
            f"{what}: expected text, got {found!r} at position {error.start}, which is half of a"
            " character (a surrogate)"
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
        picture = io.BytesIO()
        value.save(picture, "PNG")
        return picture.getvalue(), http.PNG
    if _is(value, "numpy", "ndarray"):
        array = io.BytesIO()
        try:
            sys.modules["numpy"].save(array, value, allow_pickle=False)
        except ValueError as error:
            raise UnsupportedReply(f"the array cannot be sent as .npy: {error}") from error
        return array.getvalue(), http.NPY
    if isinstance(value, Iterator | AsyncIterator):
        return value, http.BINARY
    found = (
        f"a value of type {_name(value)}" if value is not None else "None; was a return forgotten?"
    )
    raise UnsupportedReply(
        f"the handler returned {found} (allowed: bytes, str, dict, list, a PIL image,"
        " a NumPy array, Reply, or a generator of these)"
    )


def _text(value: str) -> bytes:
    try:
        # os.fsdecode maps bytes that are not UTF-8 to surrogates; restore the bytes.
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _in_utf8(value, "the reply")


def _is(value: Any, module: str, name: str) -> bool:
    """Whether ``value`` is of a class in a library, which this never imports."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_no_json).encode()
    except (ValueError, TypeError, RecursionError) as error:
        # NaN, a circular reference, a key that is no string, a lone surrogate, endless depth
        raise UnsupportedReply(f"the reply has no JSON form: {error}") from error


def _no_json(value: Any) -> Any:
    advice = "turn it into a str, number, list or dict"
    if _is(value, "numpy", "generic") or _is(value, "numpy", "ndarray"):
        advice = "use its .item() or .tolist()"
    raise UnsupportedReply(
        f"the reply holds a value of type {_name(value)}, which JSON does not know; {advice}"
    )


def _name(value: Any) -> str:
    kind = type(value)
    prefix = "" if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}."
    return f"{prefix}{kind.__qualname__}"
