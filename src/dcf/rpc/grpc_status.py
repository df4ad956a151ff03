"""An error as gRPC tells it: a number and a message. ``dataplane/reply.lua`` does the same."""

from __future__ import annotations

import re

from dcf.errors import BuildError, DcfError

LONGEST_MESSAGE = 5000
"""Bytes of an error's message as it is sent: clients take 8 KiB of headers."""

_DEAR = re.compile(rb"[^ -$&-~]")
"""A byte that takes three in a header."""
_COST = [3 if _DEAR.match(bytes((byte,))) else 1 for byte in range(256)]
"""How many bytes each byte takes in a header."""


def message_of(error: DcfError) -> str:
    """What happened, which names resemble the one asked for, and the author's traceback."""
    text = str(error)
    near = getattr(error, "near", ())
    if near:
        text += f"; is {' or '.join(near)} meant?"
    more = getattr(error, "traceback", "")
    if isinstance(error, BuildError):
        more = error.output
    return bounded("\n".join(filter(None, (text, more))))


def bounded(text: str) -> str:
    """``text`` in about as many bytes as a header may have; its middle goes first."""
    data = text.encode(errors="replace")
    if len(data) + 2 * len(_DEAR.findall(data)) > LONGEST_MESSAGE:
        head = data[: _affordable(data, LONGEST_MESSAGE // 3)]
        tail = data[len(data) - _affordable(data[::-1], LONGEST_MESSAGE * 2 // 3) :]
        return f"{head.decode(errors='ignore')}\n[...]\n{tail.decode(errors='ignore')}"
    return data.decode()


def _affordable(data: bytes, most: int) -> int:
    """Return how many of the first bytes fit in ``most`` bytes of a header."""
    size = 0
    for place, byte in enumerate(data[:most]):
        size += _COST[byte]
        if size > most:
            return place
    return min(len(data), most)
