"""The data that a call or a stream may send, and how it becomes bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Iterable, Iterator
from typing import IO, Any

from dcf.client.http11 import CHUNK
from dcf.errors import BadRequest
from dcf.protocol import http

Data = (
    bytes | bytearray | memoryview | str | dict[Any, Any] | list[Any] | IO[bytes] | Iterable[bytes]
)
"""Input of a call. dict and list become JSON; a file or an iterator is sent in parts."""
AsyncData = Data | AsyncIterable[bytes]

Part = bytes | bytearray | memoryview | str | dict[Any, Any] | list[Any]
"""A message of a stream. dict and list become JSON."""


def body_of(data: object) -> tuple[Any, str, int | None]:
    """Return the body for ``data``, its media type, and its length if that is known.

    Raises:
        TypeError: When ``data`` has a type that cannot be sent.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), http.BINARY, memoryview(data).nbytes
    if isinstance(data, str):
        text = data.encode()
        return text, http.TEXT, len(text)
    if isinstance(data, dict | list):
        encoded = _json_of(data).encode()
        return encoded, http.JSON, len(encoded)
    if callable(getattr(data, "read", None)):
        return _parts_of(data), http.BINARY, _rest_of(data)  # type: ignore[arg-type]  # it reads
    if isinstance(data, Iterable | AsyncIterable):
        return data, http.BINARY, None
    raise TypeError(
        "expected bytes, str, dict, list, a binary file or an iterator of bytes, got"
        f" {type(data).__name__}"
    )


def check_data(data: object) -> None:
    """Check that the sync client can send ``data``.

    Raises:
        TypeError: When it is an async iterator.
    """
    if isinstance(data, AsyncIterable):
        raise TypeError(
            f"expected an iterator of bytes, got {type(data).__name__}; only AsyncClient sends"
            " async iterators"
        )


def message_of(data: object) -> bytes | str:
    """Return a message of a stream as a binary or a text message.

    Raises:
        TypeError: When ``data`` has a type that cannot be sent.
    """
    if isinstance(data, bytes | str):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    if isinstance(data, dict | list):
        return _json_of(data)
    raise TypeError(f"expected a message of bytes, str, dict or list, got {type(data).__name__}")


def check_messages(messages: object) -> None:
    """Check that ``messages`` is an iterable of messages.

    Raises:
        TypeError: When it is a single message, whose characters would be sent one by one.
    """
    if isinstance(messages, str | bytes | bytearray | memoryview | dict):
        raise TypeError(
            f"expected an iterable of messages, got {type(messages).__name__}; use [message] for a"
            " single message"
        )


def _json_of(data: dict[Any, Any] | list[Any]) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _parts_of(file: IO[bytes]) -> Iterator[bytes]:
    while part := file.read(CHUNK):
        if not isinstance(part, bytes):
            raise BadRequest("expected a binary file, got a text file: open it with mode 'rb'")
        yield part


def _rest_of(file: IO[bytes]) -> int | None:
    """Return the bytes from here to the file's end; None for a pipe."""
    if not (hasattr(file, "seekable") and file.seekable()):
        return None
    here = file.tell()
    length = file.seek(0, 2) - here
    file.seek(here)
    return length
