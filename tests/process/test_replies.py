"""No reply ever runs into another one: every reply there is, on every way, beside others."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path

import grpc
import pytest

from process.plane import Plane, running
from process.raw_http import FRAMINGS, Answer, Connection, connected
from process.raw_http2 import EndedError
from process.raw_http2 import connected as http2_connected
from process.replies import HANDLERS, KINDS, STATUSES, WHOLE, Wanted, all_wanted
from process.stub import connected as grpc_connected
from process.stub import failure

pytestmark = [pytest.mark.usefixtures("_shared"), pytest.mark.slow]

Address = str | tuple[str, int]


@pytest.fixture(params=sorted(HANDLERS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def watcher(launch_shared, kind: str) -> str:
    """The socket of a watcher."""
    running = launch_shared(HANDLERS[kind], function="f")
    path: str = running.endpoint.removeprefix("unix:")
    return path


def closed_generators(address: Address, base: str = "") -> bool:
    """Whether every generator that was begun has ended."""
    with connected(address) as connection:
        connection.request("GET", f"{base}/closed")
        counts = json.loads(connection.answer("GET").body)
    assert counts["opened"] > 0
    return bool(counts["opened"] == counts["closed"])


def calls_of(address: Address, base: str) -> int:
    """How many calls the handler has had, this one included."""
    with connected(address) as connection:
        connection.request("GET", f"{base}/calls")
        return int(connection.answer("GET").body)


def own_reply(connection: Connection, base: str, token: bytes) -> None:
    """Fails unless what comes next on the connection is the reply to this request."""
    connection.request("POST", f"{base}/echo", token)
    answer = connection.answer("POST")
    assert (answer.status, answer.body) == (200, token)


def http2_request(method: str, path: str) -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]


@contextmanager
def neighbour(
    address: Address, base: str = "", connections: int = 1
) -> Iterator[Callable[[], int]]:
    """Somebody else who calls the same function all the while, and checks every reply."""
    over, counts, failures = threading.Event(), [0] * connections, []

    def call(number: int) -> None:
        try:
            with connected(address) as connection:
                while not over.is_set():
                    counts[number] += 1
                    own_reply(connection, base, b"neighbour %d: %d" % (number, counts[number]))
        except (AssertionError, OSError, EOFError, ValueError) as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(counts)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert min(counts) > 10


def ask(connection: Connection, wanted: Wanted, base: str, framing: str, **more) -> Answer:
    body = b"" if framing == "none" else b"body"
    later = connection.request(wanted.method, base + wanted.target, body, framing=framing, **more)
    answer = connection.answer(wanted.method, later)
    wanted.check(answer, sized=not base)
    if framing == "expect" and not base:
        assert answer.interim == (100,)
    return answer


def test_a_watcher_frames_every_reply_as_its_request_and_status_want_it(watcher):
    with neighbour(watcher), connected(watcher) as connection:
        for number, (wanted, framing) in enumerate(product(all_wanted(), FRAMINGS)):
            ask(connection, wanted, "", framing)
            own_reply(connection, "", b"%d" % number)
    assert closed_generators(watcher)


@pytest.mark.parametrize("headers", [(), ("connection: keep-alive",)])
def test_a_client_of_http_1_0_is_told_the_end_by_length_or_close(watcher, headers):
    for wanted, framing in product(all_wanted(), ("none", "length")):
        with connected(watcher) as connection:
            ask(connection, wanted, "", framing, version="1.0", headers=headers)
    assert closed_generators(watcher)


def test_requests_that_are_sent_ahead_get_their_own_replies_in_order(watcher):
    everything = list(all_wanted())
    for at in range(0, len(everything), 20):
        batch = everything[at : at + 20]
        with connected(watcher) as connection:
            for number, wanted in enumerate(batch):
                framing = FRAMINGS[number % 4]  # "expect" waits for its turn
                body = b"" if framing == "none" else b"body"
                connection.request(wanted.method, wanted.target, body, framing=framing)
                connection.request("POST", "/echo", b"%d" % number)
            for number, wanted in enumerate(batch):
                wanted.check(connection.answer(wanted.method))
                assert connection.answer("POST").body == b"%d" % number


# Through Envoy


@pytest.fixture(scope="module")
def plane(folder: Path, _shared) -> Iterator[Plane]:
    with running(folder) as plane:
        plane.start_bridge()
        yield plane


@pytest.fixture
def gateway(plane: Plane, launch_shared, kind: str) -> tuple[tuple[str, int], str]:
    """Address and base path of a function behind Envoy."""
    name = f"f-{kind}"
    plane.set(name, launch_shared(HANDLERS[kind], function=name, request_ids=False).endpoint)
    return ("127.0.0.1", plane.port), f"/function/{name}"


def test_behind_envoy_nobody_ever_gets_a_piece_of_anothers_reply(gateway):
    address, base = gateway
    with neighbour(address, base, connections=4), connected(address) as connection:
        for number, (wanted, framing) in enumerate(product(all_wanted(), FRAMINGS)):
            ask(connection, wanted, base, framing)
            own_reply(connection, base, b"%d" % number)
    assert closed_generators(address, base)


@pytest.mark.parametrize("headers", [(), ("connection: keep-alive",)])
def test_behind_envoy_a_client_of_http_1_0_gets_its_own_replies(gateway, headers):
    address, base = gateway
    with neighbour(address, base):
        for wanted, framing in product(all_wanted(), ("none", "length")):
            with connected(address) as connection:
                more = {"version": "1.0", "headers": headers}
                first = ask(connection, wanted, base, framing, **more)
                if headers and not first.closed:
                    ask(connection, wanted, base, framing, **more)


def test_behind_envoy_a_client_of_http_2_gets_its_own_replies(gateway):
    address, base = gateway
    everything = list(all_wanted())
    with neighbour(address, base), http2_connected(address) as connection:
        for at in range(0, len(everything), 50):
            batch = everything[at : at + 50]
            outcomes = []
            for number, wanted in enumerate(batch):
                body = b"body" if number % 2 else None
                asked = http2_request(wanted.method, base + wanted.target)
                echo = http2_request("POST", f"{base}/echo")
                outcomes.append(connection.request(asked, body))
                outcomes.append(connection.request(echo, b"%d" % number))
            connection.wait()
            for number, wanted in enumerate(batch):
                reply, echoed = outcomes[2 * number : 2 * number + 2]
                wanted.check_content(reply.status, reply.body)
                assert (echoed.status, echoed.body) == (200, b"%d" % number)


def test_behind_envoy_invoke_over_grpc_gets_one_message_or_a_status(plane, gateway):
    address, base = gateway
    name = base.rpartition("/")[2]
    with neighbour(address, base), grpc_connected(plane.port) as stub:
        for status, kind in product(STATUSES, KINDS):
            body = f"{status} {kind}".encode()
            call = partial(stub, "Invoke", Service=name, Input=body)
            if kind == "nothing" or status >= 300:
                code, message = failure(call)
                assert code is not grpc.StatusCode.OK
                assert (kind == "nothing") == ("None" in message)
            else:
                wanted = b"" if status in {204, 205} else WHOLE[kind]
                assert call().Msg.encode() == wanted
    assert closed_generators(address, base)


@pytest.mark.parametrize("target", ["{base}/echo", "x:80", "http://x{base}/echo", "{base}"])
def test_connect_never_reaches_a_handler(watcher, gateway, target):
    address, base = gateway
    for where, inside in ((watcher, ""), (address, base)):
        before = calls_of(where, inside)
        with connected(where) as connection:
            connection.request("CONNECT", target.format(base=inside) or "/", framing="none")
            answer = connection.answer("CONNECT")
            assert 400 <= answer.status < 500
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.closed
        assert calls_of(where, inside) == before + 1


@pytest.mark.parametrize(
    "more",
    [
        [],
        [(":scheme", "http"), (":path", "{base}/echo")],
        [(":scheme", "http"), (":path", "{base}/echo"), (":protocol", "connect-udp")],
    ],
)
def test_connect_over_http_2_never_reaches_a_handler(gateway, more):
    address, base = gateway
    before = calls_of(address, base)
    fields = [(":method", "CONNECT"), (":authority", "x:80")]
    fields += [(name, value.format(base=base)) for name, value in more]
    with http2_connected(address) as connection:
        outcome = connection.request(fields)
        with contextlib.suppress(EndedError):
            connection.wait()
    assert outcome.status != 200
    assert calls_of(address, base) == before + 1
