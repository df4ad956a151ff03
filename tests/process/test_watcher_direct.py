"""Small calls go past ASGI and all others through it: nobody can tell which way a call went."""

import re
import socket
import time

import pytest

from process.raw_http import connected

ABOUT = """
def Handler(req):
    if req.path == "/stream":
        return (part for part in ("a", "b", req.input))
    if req.path == "/raise":
        raise ValueError(req.input)
    return {"method": req.method, "path": req.path, "query": req.query,
            "agent": req.headers["x-agent"], "input": req.text}
"""


def _request(path: str, *headers: str, body: bytes = b"body", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "X-Agent: test", "X-Request-Id: one", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _answer(running, *pieces: bytes) -> bytes:
    """All that comes back until the watcher closes the connection, with times taken out."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(running.endpoint.removeprefix("unix:"))
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.01)
        found = b""
        while chunk := connection.recv(65536):
            found += chunk
    return re.sub(rb"dur=[0-9.]+", b"dur=0", found)


LAST = _request("/last", "Connection: close")
"""Has the watcher close the connection, by ASGI."""


@pytest.mark.parametrize("path", ["/a%20b?x=1", "/stream", "/raise", "/_dcf/health", "/"])
def test_the_answer_is_the_same_however_the_request_is_cut(launch, path):
    running = launch(ABOUT)
    request = _request(path)
    whole = _answer(running, request, LAST)
    assert whole.count(b"HTTP/1.1 ") == 2
    for cut in range(0, len(request), 7):
        parts = (request[:cut], request[cut:]) if cut else (request,)
        assert _answer(running, *parts, LAST) == whole


def test_many_at_once_are_answered_in_order(launch):
    running = launch(ABOUT)
    paths = ["/1", "/stream", "/2", "/raise", "/3"]
    found = _answer(running, b"".join(map(_request, paths)) + LAST)
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", found)]
    assert statuses == [200, 200, 200, 500, 200, 200]
    places = [found.index(b'"path": "%s"' % path) for path in (b"/1", b"/2", b"/3", b"/last")]
    assert places == sorted(places)


def test_a_client_that_goes_away_is_told_to_the_handler(launch, tmp_path):
    gone = tmp_path / "gone"
    running = launch(f"""
import pathlib, time
def Handler(req):
    until = time.monotonic() + 10
    while not req.cancelled and time.monotonic() < until:
        time.sleep(0.005)
    pathlib.Path({str(gone)!r}).write_text(str(req.cancelled))
""")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(running.endpoint.removeprefix("unix:"))
        connection.sendall(_request("/"))
        time.sleep(0.2)
    until = time.monotonic() + 5
    while not gone.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert gone.read_text() == "True"


def test_nonsense_after_a_good_head_is_refused(launch):
    running = launch(ABOUT)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert _answer(running, head + b"zz\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("framing", ["none", "length", "chunked", "split", "expect"])
@pytest.mark.parametrize("last", [False, True])
def test_an_offer_of_another_protocol_is_ignored(launch, framing, last):
    address = launch("def Handler(req): return req.input").endpoint.removeprefix("unix:")
    close = ", close" if last else ""
    offer = (f"connection: Upgrade, HTTP2-Settings{close}", "upgrade: h2c", "http2-settings: AAM")
    body = b"" if framing == "none" else b"the body"
    with connected(address) as connection:
        for _ in range(3):
            later = connection.request("POST", "/", body, framing=framing, headers=offer)
            answer = connection.answer("POST", later)
            assert (answer.status, answer.body, answer.closed) == (200, body, last)
            if last:
                break


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_handshake_that_is_refused_is_framed_as_any_reply(launch, method):
    address = launch("def Handler(req): return req.input").endpoint.removeprefix("unix:")
    with connected(address) as connection:
        headers = ("connection: upgrade", "upgrade: websocket")
        connection.request(method, "/", framing="none", headers=headers)
        answer = connection.answer(method)
        assert (answer.status, answer.closed) == (400, True)
        assert int(answer.headers["content-length"]) > 0
        assert bool(answer.body) == (method != "HEAD")


def test_nonsense_behind_a_request_is_never_taken_for_its_reply(launch, latch):
    running = launch(latch.source + "def Handler(req): wait(); return b'late'")
    with connected(running.endpoint.removeprefix("unix:")) as connection:
        connection.request("POST", "/", b"body")
        latch.reached()
        connection.send(b"\0nonsense\r\n\r\n")
        with pytest.raises(EOFError):
            connection.answer("POST")
