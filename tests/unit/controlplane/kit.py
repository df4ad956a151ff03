"""A control loop with a fake engine and a fake Envoy that applies every change at once."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from dcf.catalog.catalog import Catalog
from dcf.controlplane.loop import ControlLoop
from dcf.controlplane.route_publisher import RoutePublisher
from dcf.dataplane.xds_server import XdsServer
from dcf.engines.fake import FakeEngine
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaId, ReplicaState
from dcf.model.routing import CallLimits, Destination
from dcf.model.scaling import ScalingSpec
from dcf.reconciler.backoff import BackoffRules

RULES = BackoffRules(stable=60.0, first_delay=0.01, longest_delay=0.05)
ARTIFACT = Artifact("sha256:" + "a" * 64, "sha256:" + "b" * 64)


class WillingEnvoy(XdsServer):
    """Applies changes while ``takes`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.routes: dict[str, list[str]] = {}
        self.takes = asyncio.Event()
        self.takes.set()

    def set_function(
        self, name: str, destinations: Sequence[Destination], limits: CallLimits
    ) -> int:
        self.routes[name] = [one.endpoint for one in destinations]
        return super().set_function(name, destinations, limits)

    def remove_function(self, name: str) -> int:
        self.routes.pop(name, None)
        return super().remove_function(name)

    async def wait_applied(self, version: int, timeout: float) -> None:  # noqa: ASYNC109  as there
        await self.takes.wait()


class FakeGateway:
    def __init__(self, catalog: Catalog | None = None, engine: FakeEngine | None = None, **more):
        self.catalog = catalog or Catalog(None)
        self.engine = engine or FakeEngine()
        self.envoy = WillingEnvoy()
        self.routing = RoutePublisher(self.envoy)
        self.loop = ControlLoop(self.catalog, self.engine, self.routing, rules=RULES, **more)

    def deploy(self, name: str, replicas: int = 1, **more) -> int:
        spec = FunctionSpec(name, **more)
        wish = ScalingSpec(replicas, max(1, replicas))
        number = self.catalog.deploy(spec, ARTIFACT, wish=wish).number
        self.loop.wake()
        return number

    @property
    def living(self) -> list[ReplicaId]:
        return sorted(
            one.seen.id
            for one in self.engine._replicas.values()
            if one.seen.state is not ReplicaState.EXITED
        )

    async def until(self, holds: Callable[[], object], *, tick: bool = True) -> None:
        async with asyncio.timeout(10):
            while not holds():
                if tick:
                    self.engine.tick()
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def running(gateway: FakeGateway):
    task = asyncio.create_task(gateway.loop.run())
    try:
        yield gateway
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
