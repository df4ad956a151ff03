"""A replica that gets the list of revoked keys ends their calls and refuses new ones."""

import json

import pytest
from websockets.exceptions import InvalidStatus

from process.websockets_client import Bare, closed, connect, error_word

KINDS = """
    import time
    class Handler:
        def __call__(self, req):
            assert "x-dcf-key" not in req.headers
            if req.query.get("wait"):
                while not req.cancelled:
                    time.sleep(0.01)
            return self.stream(req) if req.query.get("stream") else b"done"

        def stream(self, req):
            yield "first"
            while not req.cancelled:
                time.sleep(0.01)
                yield ""
"""
CHAT = """
    async def Handler(req):
        assert "x-dcf-key" not in req.headers
        async for message in req.stream:
            yield message
"""


def request(running, target: str, body: bytes = b"", *more: str) -> Bare:
    bare = Bare(running)
    lines = [f"POST {target} HTTP/1.1", "host: x", f"content-length: {len(body)}", *more, "", ""]
    bare.socket.sendall("\r\n".join(lines).encode() + body)
    return bare


def revoke(running, *ids: object) -> bytes:
    with request(running, "/-/revoked", json.dumps(ids).encode()) as bare:
        return bare.until(b"\r\n\r\n")


def head(bare: Bare) -> str:
    return bare.until(b"\r\n\r\n").decode().splitlines()[0]


def test_calls_of_a_revoked_key_end_and_others_go_on(launch):
    running = launch(KINDS, concurrency=8)
    with (
        request(running, "/?wait=1", b"", "x-dcf-key: old") as waiting,
        request(running, "/?stream=1", b"", "x-dcf-key: old") as raw,
        request(running, "/?stream=1", b"", "x-dcf-key: old", "accept: text/event-stream") as sse,
        request(running, "/?stream=1", b"", "x-dcf-key: good") as other,
        request(running, "/?stream=1") as without,
    ):
        for one in (raw, sse, other, without):
            assert head(one) == "HTTP/1.1 200 OK"
        assert revoke(running, "older", "old").startswith(b"HTTP/1.1 204 ")
        assert head(waiting) == "HTTP/1.1 401 Unauthorized"
        raw.all()  # the connection ends
        sse.until(b"AccessDenied")
        for one in (other, without):
            one.exactly(10)
    with request(running, "/", b"", "x-dcf-key: old") as again:
        assert head(again) == "HTTP/1.1 401 Unauthorized"
    with request(running, "/", b"", "x-dcf-key: good") as good:
        assert head(good) == "HTTP/1.1 200 OK"


def test_a_websocket_of_a_revoked_key_is_closed_with_the_reason(launch):
    running = launch(CHAT)
    key = {"x-dcf-key": "old"}
    with connect(running, additional_headers=key) as old, connect(running) as other:
        for client in (old, other):
            client.send(b"a")
            assert client.recv(5) == b"a"
        revoke(running, "old")
        assert error_word(old)["problem"]["error"] == "AccessDenied"
        assert closed(old) == (4401, "the key was revoked during the call")
        other.send(b"b")
        assert other.recv(5) == b"b"
    with pytest.raises(InvalidStatus, match="401"):
        connect(running, additional_headers=key)


def test_what_is_no_list_of_ids_is_refused(launch):
    running = launch(KINDS)
    for body in (b"", b"{}", b"[1]", b"[" * 100_000, b"\xff", b'"old"', b"[" + b" " * 1024**2):
        with request(running, "/-/revoked", body) as bare:
            assert head(bare).split()[1] in {"400", "413"}, body[:10]
    assert running.call(b"") == b"done"
