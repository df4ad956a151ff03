"""Raw bytes of requests in the watcher: the calls that they become, and the replies."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from dcf.errors import BodyTooLarge, DcfError, FunctionNotFound, Overloaded
from dcf.protocol import http
from dcf.settings import WatcherSettings
from dcf.watcher.call import Recipient
from property.kit import PLACES, split
from property.served import Served, serve, watcher

SETTINGS = WatcherSettings(function="f", max_body=300, queue=1, request_ids=False)

METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"])
TARGETS = st.sampled_from([
    b"/", b"/function/f", b"/function/f/a%20b?x=1&y=%C3%BC", b"/-/health", b"/-/ready",
    b"/-/x", b"/%zz?%", b"//a", b"/?a=b&a=c",
])  # fmt: skip
HEADER_LINES = st.lists(
    st.sampled_from([
        b"X-A: 1", b"x-a: \xe9", b"accept: */*", b"x-request-id: one", b"x-request-id: \xff",
        b"X-Dcf-Deadline-Ms: 5000", b"X-Dcf-Deadline-Ms: soon", b"x-dcf-held-ms: 1", b"empty:",
        b"cookie: " + b"c" * 300,
    ]),
    max_size=3,
)  # fmt: skip
BODIES = st.binary(max_size=30) | st.just(bytes(300))


def with_length(body: bytes) -> bytes:
    return b"content-length: %d\r\n\r\n%b" % (len(body), body)


def in_chunks(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


REQUESTS = st.builds(
    lambda method, target, lines, rest: b"\r\n".join(
        (b"%b %b HTTP/1.1" % (method, target), b"host: x", *lines, rest)
    ),
    METHODS,
    TARGETS,
    HEADER_LINES,
    st.builds(with_length, BODIES)
    | st.builds(in_chunks, BODIES, st.integers(1, 200))
    | st.just(b"\r\n"),
)
SENT = st.lists(REQUESTS, min_size=1, max_size=4).map(b"".join)


@st.composite
def damaged(draw: Callable[..., int]) -> bytes:
    """Return requests that end early, or of which some bytes are changed or added."""
    data: bytes = draw(SENT)  # type: ignore[assignment]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        byte = bytes([draw(st.integers(0, 255))])
        data = [
            data[:place],
            data[:place] + byte + data[place + 1 :],
            data[:place] + byte + data[place:],
        ][draw(st.integers(0, 2))]
    return data


ODD = st.sampled_from([
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 301\r\n\r\n" + bytes(301),
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"POST / HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi",
    b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi",
    b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
    b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /function/g HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi",
    b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\nhello",
    b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET http://a/b HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
])  # fmt: skip


def served(pieces: list[bytes]) -> Served:
    return asyncio.run(serve(pieces, SETTINGS))


def replies(written: bytes, heads: int = 0) -> list[tuple[int, bytes]]:
    """Return statuses and bodies; every reply must be complete."""
    client, result = h11.Connection(h11.CLIENT), list[tuple[int, bytes]]()
    data = written
    while data:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        status, body = 0, b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA, f"the reply is not whole: {data!r}"
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
        result.append((status, body))
        data = client.trailing_data[0]
    return result


def without_times(written: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return the replies without the ids that the watcher generates."""
    return [(status, re.sub(rb'"request_id": "[^"]*"', b"", body)) for status, body in written]


@settings(max_examples=60)
@given(SENT, PLACES)
def test_calls_do_not_depend_on_how_their_bytes_are_split(data, places):
    at_once, in_pieces = served([data]), served(split(data, places))
    assert in_pieces.calls == at_once.calls
    assert without_times(replies(in_pieces.written)) == without_times(replies(at_once.written))
    assert at_once.errors == in_pieces.errors == []
    assert not at_once.closed


@settings(max_examples=60)
@given(damaged() | ODD | st.binary(max_size=40), SENT, PLACES)
def test_invalid_bytes_give_the_same_calls_and_no_error_however_they_are_split(data, more, places):
    at_once, in_pieces = served([data, more]), served([*split(data, places), more])
    assert at_once.errors == in_pieces.errors == []
    shorter, longer = sorted((at_once.calls, in_pieces.calls), key=len)
    assert longer[: len(shorter)] == shorter
    for result in (at_once, in_pieces):
        assert all(len(body) <= SETTINGS.max_body for *_, body in result.calls)


# The meaning of a call's headers

HEADERS = st.lists(
    st.tuples(
        st.sampled_from([
            http.REQUEST_ID.encode(), http.DEADLINE_MS.encode(), http.HELD_MS.encode(), b"accept",
            b"connection", b"content-type", b"transfer-encoding", b"x-other",
        ]),
        st.binary(max_size=12)
        | st.from_regex(rb"[0-9]{1,14}", fullmatch=True)
        | st.sampled_from([b"close", b"chunked", b"application/x-ndjson; charset=utf-8", b"a" * 200]),
    ),
    max_size=6,
)  # fmt: skip


@given(
    HEADERS,
    st.integers(0, 400),
    st.sampled_from(["/", "/function/f", "/function/fa", "/function/f/x"]),
)
def test_the_headers_of_a_call_admit_or_reject_it(headers, length, path):
    async def check() -> None:
        async with watcher(SETTINGS) as (app, _, _):
            given_ = [*headers, (b"content-length", b"%d" % length)]
            try:
                call = app.dispatcher.admit("POST", path, b"", given_, Recipient())
            except BodyTooLarge:
                assert length > SETTINGS.max_body
                return
            except FunctionNotFound:
                assert path == "/function/fa"
                return
            assert length <= SETTINGS.max_body
            assert re.fullmatch(r"[ -~]{1,128}", call.request.request_id)
            times = [
                v
                for n, v in headers
                if n == http.DEADLINE_MS.encode() and re.fullmatch(rb"[0-9]{1,12}", v)
            ]
            wanted = call.clock.arrived + int(times[-1]) / 1000 if times else math.inf
            assert call.clock.ends == wanted
            assert call.clock.deadline == min(wanted, call.clock.arrived + SETTINGS.timeout)
            app.dispatcher.release(call)

    asyncio.run(check())


@given(HEADERS)
def test_a_full_replica_admits_only_held_calls(headers):
    async def check() -> None:
        async with watcher(SETTINGS) as (app, _, _):
            calls = [
                app.dispatcher.admit("POST", "/", b"", [], Recipient())
                for _ in range(1 + SETTINGS.queue)
            ]
            for call in calls:  # a call takes its slot once its body has arrived
                call.whole(b"")
                app.dispatcher.submit(call)
            held = any(name == http.HELD_MS.encode() for name, _ in headers)
            try:
                calls.append(app.dispatcher.admit("POST", "/", b"", headers, Recipient()))
            except DcfError as error:
                assert isinstance(error, Overloaded)
                assert not held
            else:
                assert held
            for call in calls:
                app.dispatcher.release(call)

    asyncio.run(check())
