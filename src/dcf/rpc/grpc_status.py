"""Messages of gRPC statuses. ``dataplane/reply.lua`` does the same for replies through Envoy."""

from __future__ import annotations

import re

from dcf.errors import BuildError, DcfError

LONGEST_MESSAGE = 5000
"""Maximum bytes of a message, percent-encoded. Clients accept 8 KiB of headers."""

_ESCAPED = re.compile(rb"[^ -$&-~]")
"""Matches a byte that is percent-encoded in a header."""
_ENCODED_SIZE = [3 if _ESCAPED.match(bytes((byte,))) else 1 for byte in range(256)]
"""How many bytes each byte takes in a header."""


def message_of(error: DcfError) -> str:
    """Return an error's message with similar names, and the author's traceback."""
    text = str(error)
    near = getattr(error, "near", ())
    if near:
        text += f" (did you mean {' or '.join(near)}?)"
    more = getattr(error, "traceback", "")
    if isinstance(error, BuildError):
        more = error.output
    return bounded("\n".join(filter(None, (text, more))))


def bounded(text: str) -> str:
    """Return ``text``, shortened in the middle to about :data:`LONGEST_MESSAGE` bytes."""
    data = text.encode(errors="replace")
    if len(data) + 2 * len(_ESCAPED.findall(data)) > LONGEST_MESSAGE:
        head = data[: _affordable(data, LONGEST_MESSAGE // 3)]
        tail = data[len(data) - _affordable(data[::-1], LONGEST_MESSAGE * 2 // 3) :]
        return f"{head.decode(errors='ignore')}\n[...]\n{tail.decode(errors='ignore')}"
    return data.decode()


def _affordable(data: bytes, most: int) -> int:
    """Return how many of the first bytes fit in ``most`` bytes of a header."""
    size = 0
    for index, byte in enumerate(data[:most]):
        size += _ENCODED_SIZE[byte]
        if size > most:
            return index
    return min(len(data), most)
