"""Streams of the clients and of the command line through a gateway."""

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
from dcf.client.async_client import AsyncClient
from dcf.client.client import Client
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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        for name, source in {"shout": SHOUT, "pipe": PIPE, "parse": PARSE}.items():
            gateway.deploy(gateway.write(name, source))
        yield gateway


@pytest.fixture(params=["plain", "async"])
def ask(request, gateway: GatewayProcess):
    """Stream with one of the clients until the end."""

    def plain(name, messages, **options):
        with Client(gateway.url, gateway.token) as client:
            return list(client.stream(name, messages, **options))

    def awaited(name, messages, **options):
        async def ask():
            async with AsyncClient(gateway.url, gateway.token) as client:
                return [reply async for reply in client.stream(name, messages, **options)]

        return asyncio.run(ask())

    return {"plain": plain, "async": awaited}[request.param]


def test_a_stream_passes_through_the_gateway_and_through_a_function(ask) -> None:
    messages = [b"%d-a" % number for number in range(300)]
    assert ask("shout", messages) == [message.upper() for message in messages]
    assert ask("pipe", messages) == [b"<" + message.upper() + b">" for message in messages]
    large = [b"a" * 3_000_000, b"b"]
    assert ask("shout", large) == [message.upper() for message in large]


def test_errors_arrive_unchanged(ask) -> None:
    with pytest.raises(HandlerRaised, match="not today") as caught:
        ask("shout", [b"a", b"raise"])
    assert 'raise ValueError("not today")' in caught.value.traceback
    with pytest.raises(FunctionNotFound) as missing:
        ask("shuot", [])
    assert missing.value.near == ("shout",)
    errors: list[dcf.errors.DcfError] = []
    assert ask("parse", ["1", "{", "2"], on_error=errors.append) == [b"1", b"2"]
    assert [type(error) for error in errors] == [BadRequest]


def test_a_stream_waits_for_a_replica_to_start(gateway: GatewayProcess, ask) -> None:
    gateway.client.scale("shout", 0)
    gateway.until(lambda: not gateway.replicas("shout"))
    gateway.client.scale("shout", None)
    assert ask("shout", [b"a"]) == [b"A"]


def test_killing_the_replica_of_a_stream_loses_the_stream(gateway: GatewayProcess, ask) -> None:
    with Client(gateway.url) as client:
        stream = client.stream("shout", itertools.chain([b"pid"], itertools.repeat(b"a")))
        os.kill(int(next(stream)), signal.SIGKILL)
        with pytest.raises(ReplicaLost):
            for _ in stream:
                pass
    gateway.until_ready("shout")
    assert ask("shout", [b"a"]) == [b"A"]


def test_a_client_that_disconnects_early_leaves_nothing_behind(gateway: GatewayProcess) -> None:
    with Client(gateway.url) as client:
        for _ in range(20):
            for reply in client.stream("pipe", itertools.repeat(b"a")):
                assert reply == b"<A>"
                break
    # A generator that is not async has one slot, which was free again each time.
    assert gateway.dcf("function", "call", "pipe", "--stream", input=b"b").stdout == b"<B>\n"


def test_the_command_line_streams(gateway: GatewayProcess) -> None:
    result = gateway.dcf("function", "call", "shout", "--stream", input=b"one\ntwo\n")
    assert (result.returncode, result.stdout) == (0, b"ONE\nTWO\n"), result.stderr
    result = gateway.dcf("function", "call", "parse", "--stream", input=b"1\n{\n2\n")
    assert (result.returncode, result.stdout) == (ExitCode.CALL, b"1\n2\n"), result.stderr


def test_a_stream_stays_on_its_revision_while_another_revision_serves(
    gateway: GatewayProcess,
) -> None:
    gateway.deploy(gateway.write("moving", SHOUT))
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with Client(gateway.url, gateway.token) as client:
        stream = client.stream("moving", iter(messages.get, b""))
        messages.put(b"before")
        assert next(stream) == b"BEFORE"
        gateway.deploy(gateway.write("moving", SHOUT.replace("upper", "title")))
        assert list(client.stream("moving", [b"new"])) == [b"New"]
        messages.put(b"after")
        assert next(stream) == b"AFTER"
        assert len(gateway.replicas("moving")) == 2, "the old replica waits for its stream"
        messages.put(b"")
        assert list(stream) == []
    gateway.until(lambda: len(gateway.replicas("moving")) == 1)
