"""Every replica gets the list of revoked keys, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from dcf.controlplane.replicas.replica_registry import ReplicaRegistry
from dcf.controlplane.replicas.revocations import Revocations, send
from dcf.controlplane.tokens import Tokens
from dcf.errors import StorageError
from dcf.model.replica import ReplicaState

PATIENCE = 5


class Replica:
    """Confirms the list it gets, or does not."""

    def __init__(self, folder: Path, name: str, state: ReplicaState = ReplicaState.READY) -> None:
        self.seen = SimpleNamespace(id=name, state=state, endpoint=f"unix:{folder}/{name}")
        self.status = b"204 No Content"
        self.told: asyncio.Queue[list[str]] = asyncio.Queue()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        self.told.put_nowait(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 " + self.status + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    async def next(self) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            return await self.told.get()


class Keys:
    def __init__(self, *revoked: str) -> None:
        self.ids = [*revoked]
        self.fails = False

    def revoked(self) -> list[str]:
        if self.fails:
            self.fails = False
            raise StorageError("the disk is full")
        return self.ids


@contextlib.asynccontextmanager
async def telling(keys: Keys, *replicas: Replica) -> AsyncIterator[Revocations]:
    registry = SimpleNamespace(all=lambda: [one.seen for one in replicas])
    revocations = Revocations(cast("Tokens", keys), cast("ReplicaRegistry", registry))
    servers = [
        await asyncio.start_unix_server(one.answer, one.seen.endpoint.removeprefix("unix:"))
        for one in replicas
    ]
    task = asyncio.create_task(revocations.run())
    try:
        yield revocations
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for server in servers:
            server.close()


def run(check: Any) -> None:
    asyncio.run(check())


def test_a_new_control_plane_sends_the_list_to_all_ready_replicas(tmp_path):
    async def check() -> None:
        ready = Replica(tmp_path, "a")
        starting = Replica(tmp_path, "b", ReplicaState.STARTING)
        async with telling(Keys("k1", "k2"), ready, starting):
            assert await ready.next() == ["k1", "k2"]
            assert starting.told.empty()
            starting.seen.state = ReplicaState.READY
            assert await starting.next() == ["k1", "k2"]
            assert ready.told.empty()  # a confirmed list is not sent again

    run(check)


def test_an_empty_list_is_not_sent_but_the_next_revocation_is(tmp_path):
    async def check() -> None:
        one, keys = Replica(tmp_path, "a"), Keys()
        async with telling(keys, one) as revocations:
            await asyncio.sleep(0)
            keys.ids.append("k1")
            revocations.wake()
            assert await one.next() == ["k1"]
            assert one.told.empty()

    run(check)


def test_the_list_is_sent_until_the_replica_confirms(tmp_path):
    async def check() -> None:
        one, keys = Replica(tmp_path, "a"), Keys("k1")
        one.status = b"503 Service Unavailable"
        async with telling(keys, one):
            assert await one.next() == ["k1"]
            one.status = b"204 No Content"
            assert await one.next() == ["k1"]

    run(check)


def test_a_hanging_replica_delays_no_other(tmp_path):
    async def check() -> None:
        still, other, keys = Replica(tmp_path, "a"), Replica(tmp_path, "b"), Keys("k1")
        gate = asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await gate.wait()
            writer.close()

        still.answer = wait  # type: ignore[method-assign]  # of this one
        async with telling(keys, still, other) as revocations:
            assert await other.next() == ["k1"]
            keys.ids.append("k2")
            revocations.wake()
            async with asyncio.timeout(1):
                assert await other.next() == ["k1", "k2"]
            gate.set()

    run(check)


def test_keys_that_cannot_be_read_are_read_again(tmp_path):
    async def check() -> None:
        one, keys = Replica(tmp_path, "a"), Keys("k1")
        keys.fails = True
        async with telling(keys, one):
            assert await one.next() == ["k1"]

    run(check)


def test_absence_and_silence_confirm_nothing(tmp_path):
    async def check() -> None:
        with socket.socket(socket.AF_UNIX) as mute:
            mute.bind(str(tmp_path / "s"))
            mute.listen()
            assert not await send(f"unix:{tmp_path}/s", b"[]", 0.05)
        assert not await send(f"unix:{tmp_path}/none", b"[]")
        assert not await send("tcp:127.0.0.1:1", b"[]")
        assert not await send("nowhere", b"[]")

    run(check)
