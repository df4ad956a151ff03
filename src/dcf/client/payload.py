"""What a call may send, and how it becomes bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Iterable, Iterator
from typing import IO, Any

from dcf.client.exchange import CHUNK
from dcf.errors import BadRequest
from dcf.protocol import http

Data = (
    bytes | bytearray | memoryview | str | dict[Any, Any] | list[Any] | IO[bytes] | Iterable[bytes]
)
"""What a call may send: dict and list become JSON, a file or an iterator is sent in parts."""
AsyncData = Data | AsyncIterable[bytes]


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
        encoded = json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
        return encoded, http.JSON, len(encoded)
    if callable(getattr(data, "read", None)):
        return _parts_of(data), http.BINARY, _rest_of(data)  # type: ignore[arg-type]  # it reads
    if isinstance(data, Iterable | AsyncIterable):
        return data, http.BINARY, None
    raise TypeError(
        f"a value of type {type(data).__name__} cannot be sent (allowed: bytes, str, dict, list,"
        " a binary file, an iterator of bytes)"
    )


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
