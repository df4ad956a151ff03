"""Small calls go past ASGI and all others through it: nobody can tell which way a call went."""

import re
import socket
import time

import pytest

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
