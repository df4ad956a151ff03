"""A handler that gives every kind of reply, and what each must look like on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from process.raw_http import Answer

EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nEVIL!"
"""A body that looks like another reply to a client with wrong framing."""

SOURCE = f"""
import asyncio
import dcf

EVIL = {EVIL!r}
opened = closed = calls = 0

def parts():
    global opened, closed
    opened += 1
    try:
        yield EVIL
        yield EVIL
    finally:
        closed += 1

async def later():
    for part in parts():
        yield part

KINDS = {{
    "bytes": lambda: EVIL, "text": EVIL.decode, "json": lambda: {{"evil": EVIL.decode()}},
    "generator": parts, "empty": lambda: b"", "nothing": lambda: None,
}}

def answer(req):
    global calls
    calls += 1
    if req.path == "/calls":
        return str(calls)
    if req.path == "/echo":
        return req.input
    if req.path == "/" and req.input:
        status, kind = req.text.split()
        return dcf.Reply(KINDS[kind](), status=int(status))
    if req.path == "/closed":
        return {{"opened": opened, "closed": closed}}
    body = KINDS[req.query["kind"]]()
    return body if "plain" in req.query else dcf.Reply(body, status=int(req.query["status"]))
"""

HANDLERS = {
    "plain": SOURCE + "\nHandler = answer\n",
    "async": SOURCE
    + """
KINDS["generator"] = later

async def Handler(req):
    await asyncio.sleep(0)
    return answer(req)
""",
}

WHOLE = {
    "bytes": EVIL,
    "text": EVIL,
    "json": json.dumps({"evil": EVIL.decode()}).encode(),
    "generator": EVIL * 2,
    "empty": b"",
}
STATUSES = (200, 204, 205, 304, 404, 500)
KINDS = (*WHOLE, "nothing")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGE")


class Wanted(NamedTuple):
    """A reply that a test requests from the handler."""

    status: int
    kind: str
    method: str

    @property
    def target(self) -> str:
        return f"/reply?status={self.status}&kind={self.kind}"

    def check(self, answer: Answer, *, sized: bool = True) -> None:
        """Fail unless the reply is framed as RFC 9110 requires.

        Args:
            answer: The reply, read on its own.
            sized: Whether a reply of unknown length is framed only by chunks.
        """
        length, coding = (
            answer.headers.get(name) for name in ("content-length", "transfer-encoding")
        )
        if self.kind == "nothing":
            assert answer.status == 500
            assert answer.headers["content-type"] == "application/problem+json"
            assert coding is None
            assert int(length or 0) > 0
            return
        self.check_content(answer.status, answer.body)
        if self.status in {204, 304}:
            assert (length, coding) == (None, None)
        elif self.status == 205:
            assert (length, coding) == ("0", None)
        elif self.kind == "generator":
            assert length is None
            if sized:
                chunked = self.method != "HEAD" and not answer.closed
                assert coding == ("chunked" if chunked else None)
        else:
            assert (length, coding) == (str(len(WHOLE[self.kind])), None)

    def check_content(self, status: int, body: bytes) -> None:
        """Fail unless status and content are those of the reply."""
        if self.kind == "nothing":
            assert status == 500
        else:
            assert status == self.status
            without = self.method == "HEAD" or status in {204, 205, 304}
            assert body == (b"" if without else WHOLE[self.kind])


def all_wanted() -> Iterator[Wanted]:
    """Return every status with every kind of reply and every method."""
    return (Wanted(*case) for case in product(STATUSES, KINDS, METHODS))
