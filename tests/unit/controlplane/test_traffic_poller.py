"""Calls are counted exactly once, also after restarts."""

import asyncio
import json
from pathlib import Path
from typing import Self

import pytest

from dcf.catalog.catalog import Catalog
from dcf.controlplane.activation import traffic_poller
from dcf.controlplane.activation.traffic_poller import TrafficPoller
from dcf.model.function import FunctionSpec
from unit.controlplane.kit import ARTIFACT


class Envoy:
    """Replies on a socket like Envoy's administration interface."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: dict[str, int] = {}
        self.asked = 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        stats = [
            {"name": f"cluster.{name}.upstream_rq_total", "value": count}
            for name, count in self.calls.items()
        ]
        body = json.dumps({"stats": stats}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._answer, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()
        self.path.unlink()


@pytest.fixture
def catalog(monkeypatch):
    monkeypatch.setattr(traffic_poller, "FRESH", 0.0)
    with Catalog(None) as catalog:
        catalog.deploy(FunctionSpec("a"), ARTIFACT)
        yield catalog


def counted(catalog: Catalog) -> int:
    return catalog.function("a").invocations


def test_new_calls_are_added(catalog, tmp_path):
    async def run():
        async with Envoy(tmp_path / "admin") as envoy:
            counts = TrafficPoller(catalog, envoy.path)
            await counts.poll()
            for calls in (3, 3, 10):
                envoy.calls["a"] = calls
                await counts.poll()
            assert counted(catalog) == 10
            # The control plane is restarted: these counts were stored before.
            counts = TrafficPoller(catalog, envoy.path)
            await counts.poll()
            envoy.calls["a"] = 11
            await counts.poll()
            assert counted(catalog) == 11

    asyncio.run(run())


def test_a_restarted_envoy_begins_at_zero(catalog, tmp_path):
    async def run():
        async with Envoy(tmp_path / "admin") as envoy:
            counts = TrafficPoller(catalog, envoy.path)
            await counts.poll()
            envoy.calls["a"] = 5
            await counts.poll()
        assert (await counts.poll())["a"].calls == 5, "nobody answers: the last figures stand"
        async with Envoy(tmp_path / "admin") as envoy:
            envoy.calls = {"a": 2, "deleted": 7}
            await counts.poll()
            assert counted(catalog) == 7

    asyncio.run(run())


def test_concurrent_polls_ask_envoy_once(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(traffic_poller, "FRESH", 60.0)

    async def run():
        async with Envoy(tmp_path / "admin") as envoy:
            counts = TrafficPoller(catalog, envoy.path)
            await asyncio.gather(*(counts.poll() for _ in range(10)))
            assert envoy.asked == 1

    asyncio.run(run())
