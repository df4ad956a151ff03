"""How many waiting calls a replica hands back so that idle ones have work."""

import asyncio

import pytest

from dcf.controlplane.replicas import replica_api
from dcf.controlplane.replicas.rebalancer import surpluses
from dcf.controlplane.replicas.replica_api import ReplicaLoad


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        ([(1, 15), (0, 0)], [8, 0]),
        ([(1, 15), (0, 0), (0, 0), (0, 0)], [12, 0, 0, 0]),
        ([(1, 7), (1, 7), (0, 0)], [2, 2, 0]),
        ([(1, 1), (0, 0)], [1, 0]),
        ([(1, 1), (1, 0)], [0, 0]),  # it would wait there too
        ([(1, 0), (0, 0)], [0, 0]),  # running calls do not move
        ([(1, 3), (1, 3)], [0, 0]),
        ([(0, 0), (0, 0)], [0, 0]),
        ([], []),
    ],
)
def test_replicas_with_one_call_at_a_time(loads, expected):
    given = [ReplicaLoad(1, running, waiting) for running, waiting in loads]
    assert surpluses(given) == expected


def test_a_replica_with_a_higher_concurrency_keeps_more():
    assert surpluses([ReplicaLoad(1, 1, 9), ReplicaLoad(4, 0, 0)]) == [8, 0]
    assert surpluses([ReplicaLoad(4, 4, 6), ReplicaLoad(1, 0, 0)]) == [2, 0]


def test_no_call_moves_back_and_forth():
    for first in range(12):
        for second in range(12):
            loads = [ReplicaLoad(1, min(1, n), max(0, n - 1)) for n in (first, second)]
            moved = surpluses(loads)
            after = [first - moved[0] + moved[1], second - moved[1] + moved[0]]
            loads = [ReplicaLoad(1, min(1, n), max(0, n - 1)) for n in after]
            assert surpluses(loads) == [0, 0]


def answered_with(reply: bytes) -> ReplicaLoad | None:
    async def run() -> ReplicaLoad | None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await replica_api.load(f"tcp:127.0.0.1:{port}")

    return asyncio.run(run())


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
GOOD = b'{"concurrency": 1, "running": 2, "waiting": 3}'


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 404 Not Found\r\n\r\n{}",
        HEAD + b"{}",
        HEAD + b"[]",
        HEAD + b'{"concurrency": 1, "running": -2, "waiting": 3}',
        HEAD + b'{"concurrency": 1, "running": true, "waiting": 3}',
        HEAD + b'{"concurrency": 1, "running": 1e9, "waiting": 3}',
        HEAD + b"[" * 4000 + b"}",
        HEAD + b"x" * 100_000,
    ],
)
def test_an_invalid_reply_is_no_load(reply):
    assert answered_with(reply) is None


def test_the_load_of_a_replica_is_read():
    assert answered_with(HEAD + GOOD) == ReplicaLoad(1, 2, 3)


def test_an_absent_replica_has_no_load(tmp_path):
    assert asyncio.run(replica_api.load(f"unix:{tmp_path}/gone")) is None
    assert asyncio.run(replica_api.load("tcp:nowhere")) is None
