"""Routes that Envoy has confirmed or rejected."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from dcf.controlplane.route_publisher import RoutePublisher
from dcf.dataplane.xds_server import XdsServer
from dcf.reconciler.types import Route
from dcf.rpc.xds_messages import ASSIGNMENT, CLUSTER

ROUTE = Route(("unix:/x",))


class PickyEnvoy(XdsServer):
    """Applies or rejects changes as the test decides."""

    async def takes(self, name: str) -> None:
        for kind in (CLUSTER, ASSIGNMENT):
            self._changed.pop((kind, name), None)
            self._rejected.pop((kind, name), None)
        async with self._progress:
            self._progress.notify_all()

    async def refuses(self, name: str) -> None:
        self._rejected[CLUSTER, name] = "no such thing"
        async with self._progress:
            self._progress.notify_all()


@contextlib.asynccontextmanager
async def confirming(routing: RoutePublisher) -> AsyncIterator[asyncio.Event]:
    changed = asyncio.Event()
    task = asyncio.create_task(routing.confirm(changed.set))
    try:
        yield changed
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(holds) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(0.005)


def test_a_rejected_route_delays_no_other_function(caplog):
    async def check() -> None:
        envoy = PickyEnvoy()
        routing = RoutePublisher(envoy)
        async with confirming(routing):
            for name in ("bad", "good"):
                routing.publish(name, ROUTE, {})
            await envoy.takes("good")
            await envoy.refuses("bad")
            await until(lambda: routing.confirmed() == {"good": ROUTE})
            for number in range(3):
                routing.publish(f"later{number}", ROUTE, {})
                await envoy.takes(f"later{number}")
                began = asyncio.get_running_loop().time()
                await until(lambda number=number: f"later{number}" in routing.confirmed())
                assert asyncio.get_running_loop().time() - began < 0.5
            assert "bad" not in routing.confirmed()
            await envoy.takes("bad")
            await until(lambda: routing.confirmed().get("bad") == ROUTE)

    asyncio.run(check())
    assert "updating Envoy of bad failed" in caplog.text
    assert "no such thing" in caplog.text


def test_a_rejected_route_is_sent_again_when_it_changes():
    async def check() -> None:
        envoy = PickyEnvoy()
        routing = RoutePublisher(envoy)
        async with confirming(routing):
            routing.publish("a", ROUTE, {})
            await envoy.refuses("a")
            await until(lambda: "a" in envoy.passed_over)
            routing.publish("a", Route(("unix:/y",)), {})
            assert "a" not in envoy.passed_over
            await envoy.takes("a")
            await until(lambda: routing.confirmed().get("a") == Route(("unix:/y",)))

    asyncio.run(check())
