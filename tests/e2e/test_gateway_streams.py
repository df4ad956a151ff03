"""Streams of the clients and the command line through a gateway."""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import signal
from collections.abc import Iterator

import pytest

import dcf
from dcf.cli.exit_codes import ExitCode
from dcf.client.async_gateway import AsyncClient
from dcf.client.gateway import Client
from dcf.errors import BadRequest, FunctionNotFound, HandlerRaised, ReplicaLost
from e2e.gateway_process import GatewayProcess, running

SHOUT = """
import os

async def Handler(req):
    async for message in req.stream:
        if message == b"raise":
            raise ValueError("not today")
        if message == b"pid":
            yield str(os.getpid())
        else:
            yield message.upper()
"""
PIPE = """
import dcf

def Handler(req):
    for reply in dcf.stream("shout", req.stream):
        yield b"<" + reply + b">"
"""
PARSE = "def Handler(req):\n    return str(req.json())\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        for name, source in {"shout": SHOUT, "pipe": PIPE, "parse": PARSE}.items():
            house.deploy(house.write(name, source))
        yield house


@pytest.fixture(params=["plain", "async"])
def ask(request, house: GatewayProcess):
    """Streams with one of the clients, to the end."""

    def plain(name, messages, **given):
        with Client(house.url, house.token) as client:
            return list(client.stream(name, messages, **given))

    def awaited(name, messages, **given):
        async def ask():
            async with AsyncClient(house.url, house.token) as client:
                return [reply async for reply in client.stream(name, messages, **given)]

        return asyncio.run(ask())

    return {"plain": plain, "async": awaited}[request.param]


def test_a_stream_through_the_gateway_and_through_a_function(ask) -> None:
    messages = [b"%d-a" % number for number in range(300)]
    assert ask("shout", messages) == [one.upper() for one in messages]
    assert ask("pipe", messages) == [b"<" + one.upper() + b">" for one in messages]
    large = [b"a" * 3_000_000, b"b"]
    assert ask("shout", large) == [one.upper() for one in large]


def test_errors_come_as_they_are(ask) -> None:
    with pytest.raises(HandlerRaised, match="not today") as caught:
        ask("shout", [b"a", b"raise"])
    assert 'raise ValueError("not today")' in caught.value.traceback
    with pytest.raises(FunctionNotFound) as missing:
        ask("shuot", [])
    assert missing.value.near == ("shout",)
    told: list[dcf.errors.DcfError] = []
    assert ask("parse", ["1", "{", "2"], on_error=told.append) == [b"1", b"2"]
    assert [type(error) for error in told] == [BadRequest]


def test_a_stream_waits_for_a_replica_to_start(house: GatewayProcess, ask) -> None:
    house.client.scale("shout", 0)
    house.until(lambda: not house.replicas("shout"))
    house.client.scale("shout", None)
    assert ask("shout", [b"a"]) == [b"A"]


def test_a_replica_that_is_killed_in_mid_stream_is_lost(house: GatewayProcess, ask) -> None:
    with Client(house.url) as client:
        stream = client.stream("shout", itertools.chain([b"pid"], itertools.repeat(b"a")))
        os.kill(int(next(stream)), signal.SIGKILL)
        with pytest.raises(ReplicaLost):
            for _ in stream:
                pass
    house.until_ready("shout")
    assert ask("shout", [b"a"]) == [b"A"]


def test_who_leaves_early_leaves_nothing_behind(house: GatewayProcess) -> None:
    with Client(house.url) as client:
        for _ in range(20):
            for reply in client.stream("pipe", itertools.repeat(b"a")):
                assert reply == b"<A>"
                break
    # A plain generator has one slot, which was free again each time.
    assert house.dcf("function", "call", "pipe", "--stream", input=b"b").stdout == b"<B>\n"


def test_the_command_line_streams(house: GatewayProcess) -> None:
    done = house.dcf("function", "call", "shout", "--stream", input=b"one\ntwo\n")
    assert (done.returncode, done.stdout) == (0, b"ONE\nTWO\n"), done.stderr
    done = house.dcf("function", "call", "parse", "--stream", input=b"1\n{\n2\n")
    assert (done.returncode, done.stdout) == (ExitCode.CALL, b"1\n2\n"), done.stderr


def test_a_stream_finishes_where_it_began_while_another_revision_serves(
    house: GatewayProcess,
) -> None:
    house.deploy(house.write("moving", SHOUT))
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with Client(house.url, house.token) as client:
        stream = client.stream("moving", iter(messages.get, b""))
        messages.put(b"before")
        assert next(stream) == b"BEFORE"
        house.deploy(house.write("moving", SHOUT.replace("upper", "title")))
        assert list(client.stream("moving", [b"new"])) == [b"New"]
        messages.put(b"after")
        assert next(stream) == b"AFTER"
        assert len(house.replicas("moving")) == 2, "the old one waits for its stream"
        messages.put(b"")
        assert list(stream) == []
    house.until(lambda: len(house.replicas("moving")) == 1)
