"""No reply ever runs into another one: every reply there is, on every way, beside others."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product

import pytest

from process.raw_http import FRAMINGS, Connection, connected
from process.replies import HANDLERS, Wanted, all_wanted

pytestmark = pytest.mark.usefixtures("_shared")

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


def own_reply(connection: Connection, base: str, token: bytes) -> None:
    """Fails unless what comes next on the connection is the reply to this request."""
    connection.request("POST", f"{base}/echo", token)
    answer = connection.answer("POST")
    assert (answer.status, answer.body) == (200, token)


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


def ask(connection: Connection, wanted: Wanted, base: str, framing: str, **more) -> None:
    body = b"" if framing == "none" else b"body"
    later = connection.request(wanted.method, base + wanted.target, body, framing=framing, **more)
    answer = connection.answer(wanted.method, later)
    wanted.check(answer, sized=not base)
    if framing == "expect" and not base:
        assert answer.interim == (100,)


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
