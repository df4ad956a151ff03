"""What a call may send, and how it becomes bytes."""

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
"""What a call may send: dict and list become JSON, a file or an iterator is sent in parts."""
AsyncData = Data | AsyncIterable[bytes]

Part = bytes | bytearray | memoryview | str | dict[Any, Any] | list[Any]
"""What can be one message of a stream: dict and list become JSON."""


def body_of(data: object) -> tuple[Any, str, int | None]:
    """What is sent for ``data``, its media type, and its bytes where they are known.

    Raises:
        TypeError: When it cannot be sent.
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
        f"a value of type {type(data).__name__} cannot be sent (allowed: bytes, str, dict, list,"
        " a binary file, an iterator of bytes)"
    )


def message_of(data: object) -> bytes | str:
    """What is sent for one message of a stream: a binary one, or a text.

    Raises:
        TypeError: When it cannot be sent.
    """
    if isinstance(data, bytes | str):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    if isinstance(data, dict | list):
        return _json_of(data)
    raise TypeError(
        f"a value of type {type(data).__name__} cannot be a message (allowed: bytes, str, dict,"
        " list)"
    )


def check_messages(messages: object) -> None:
    """Holds what is to be sent to being several messages.

    Raises:
        TypeError: When it is one, whose characters or bytes would be sent one by one.
    """
    if isinstance(messages, str | bytes | bytearray | memoryview | dict):
        raise TypeError(
            f"messages are an iterable of messages, not {type(messages).__name__}; [message] is"
            " one of a single message"
        )


def _json_of(data: dict[Any, Any] | list[Any]) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _parts_of(file: IO[bytes]) -> Iterator[bytes]:
    while part := file.read(CHUNK):
        if not isinstance(part, bytes):
            raise BadRequest("the file is open as text; open it with mode 'rb'")
        yield part


def _rest_of(file: IO[bytes]) -> int | None:
    """Bytes until the file's end; None for a pipe."""
    if not (hasattr(file, "seekable") and file.seekable()):
        return None
    here = file.tell()
    length = file.seek(0, 2) - here
    file.seek(here)
    return length
