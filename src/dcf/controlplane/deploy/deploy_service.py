"""Deploy functions: build them, enter them into the catalog, wait for their replicas."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

from dcf.builder.retained import RetainedArtifacts
from dcf.catalog.catalog import Catalog
from dcf.catalog.rows import wanted_of
from dcf.controlplane import function_status
from dcf.controlplane.deploy.build_stream import build
from dcf.controlplane.deploy.deploy_queue import DeployQueue
from dcf.controlplane.deploy.deploy_request import DeployRequest
from dcf.controlplane.loop import ControlLoop
from dcf.controlplane.route_publisher import RoutePublisher
from dcf.engines.base import Engine
from dcf.errors import (
    FunctionNotFound,
    GpuUnavailable,
    Overloaded,
    RolloutInvalid,
    StartTimeout,
)
from dcf.model.replica import ReplicaState
from dcf.model.revision import FunctionRecord, Revision
from dcf.model.scaling import ScalingSpec
from dcf.model.status import FunctionState
from dcf.protocol.progress import Progress, ProgressKind
from dcf.reconciler.types import Route
from dcf.settings import ControlSettings

MOST = 100
"""Maximum number of deploys that are not in the catalog yet. Each has a thread."""

RETRY_AFTER = 10
"""Seconds after which a client may retry when there are too many deploys."""


class DeployService:
    """Runs deploys, several at a time."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        loop: ControlLoop,
        routing: RoutePublisher,
        retained: RetainedArtifacts,
        engine: Engine,
        settings: ControlSettings,
    ) -> None:
        """Create the service.

        Args:
            catalog: What is deployed.
            loop: The control loop.
            routing: The routes that Envoy has confirmed.
            retained: The artifacts that must stay in the store.
            engine: Prepares artifacts, and knows the capacity for replicas.
            settings: Limits.
        """
        self._engine = engine
        self._catalog = catalog
        self._loop = loop
        self._routing = routing
        self._retained = retained
        self._settings = settings
        self._turns = DeployQueue()

    async def deploy(self, request: DeployRequest) -> AsyncGenerator[Progress, None]:
        """Build a function, enter it into the catalog, and wait for its replicas.

        A deploy whose environment exists does not wait for a build. Other deploys report what they
        wait for. Deploys of one function enter in the order of their arrival, unless an earlier one
        still builds another environment; that one fails. If the generator is closed before
        REVISION, nothing has changed.

        Raises:
            BlobsMissing: If a file was not uploaded.
            BuildError: If the environment cannot be built.
            Overloaded: If too many deploys are waiting.
            RolloutInvalid: If a later deploy of the function has entered first.
            SecretNotFound: If a secret is missing on the gateway's machine.
            SpecInvalid: If the minimum and maximum number of replicas are not consistent.
            StartError: If the new revision cannot be started. It stays deployed, and the previous
                revision keeps serving.
            StartTimeout: If it is not ready in time. It stays deployed.
            StorageError: If the disk cannot be written.
        """
        name = request.spec.name
        await self._engine.check(request.spec)
        await self._check_gpus(request)
        if self._turns.count >= MOST:
            raise Overloaded(f"{MOST} deploys are already in progress", RETRY_AFTER)
        environment = (request.artifact.lock, request.spec.python)
        with self._turns.joined(name, environment) as turn:
            progress = build(self._engine, request.artifact, request.spec)
            async with contextlib.aclosing(progress):
                async for step in progress:
                    self._turns.builds(turn, builds=True)
                    yield step
            self._turns.builds(turn, builds=False)
            if not self._turns.is_next(name, turn):
                detail = f"Waiting for an earlier deploy of {name}"
                yield Progress(ProgressKind.NOTICE, detail=detail)
                await self._turns.wait(name, turn)
            if turn.overtaken_by:
                raise RolloutInvalid(
                    f"revision {turn.overtaken_by} of {name} was deployed while this build ran, and"
                    " keeps serving; deploy again to replace it"
                )
            before = time.time()
            revision, is_new = await asyncio.to_thread(self._enter, request)
            self._turns.entered(name, turn, revision.number)
        if not is_new:
            self._loop.reset_backoff(name)
        self._loop.wake()
        yield Progress(ProgressKind.REVISION, number=revision.number, is_new=is_new)
        if request.wait:
            waiting = self._wait_until_ready(revision, before, request.timeout)
            async with contextlib.aclosing(waiting):
                async for step in waiting:
                    yield step
        else:
            record = await asyncio.to_thread(self._catalog.function, name)
            yield self._last(ProgressKind.ACCEPTED, record)

    async def _check_gpus(self, request: DeployRequest) -> None:
        """Check that the machine has enough GPUs for the maximum number of replicas.

        Raises:
            GpuUnavailable: If it has too few.
        """
        spec = request.spec
        each = max(spec.limits.gpu or 0, spec.requests.gpu or 0)
        capacity = (await self._engine.capacity()).gpu
        if not each or not capacity:
            return  # without any GPU, a function that only limits its GPUs runs on the CPU
        wish = ScalingSpec(request.minimum, request.maximum).over(spec.scaling)
        replicas = max(wish.maximum or 1, wish.minimum or 1)
        if replicas * each > capacity:
            raise GpuUnavailable(replicas * each, capacity, capacity)

    def _enter(self, request: DeployRequest) -> tuple[Revision, bool]:
        """Enter a deploy into the catalog. This blocks.

        Returns:
            The revision, and whether it is new.
        """
        try:
            before = self._catalog.function(request.spec.name).current.number
        except FunctionNotFound:
            before = 0
        revision = self._catalog.deploy(
            request.spec,
            request.artifact,
            wish=ScalingSpec(request.minimum, request.maximum),
            annotations=request.annotations,
            canary=request.canary,
            kept=self._settings.revisions,
        )
        self._retained.keep_only(self._catalog.artifacts(self._settings.revisions))
        return revision, revision.number != before

    async def _wait_until_ready(
        self, revision: Revision, since: float, patience: float
    ) -> AsyncGenerator[Progress, None]:
        name = revision.function
        end = time.monotonic() + patience
        while True:
            # Subscribe before reading the state, so that no change is missed.
            news = asyncio.ensure_future(self._loop.news())
            try:
                record = await asyncio.to_thread(self._catalog.function, name)
                if (number := _replaced_by(record, revision)) is not None:
                    detail = f"revision {revision.number} was replaced by revision {number}"
                    yield Progress(ProgressKind.NOTICE, detail=detail)
                    yield self._last(ProgressKind.ACCEPTED, record)
                    return
                if self._is_ready(record, revision):
                    yield self._last(ProgressKind.READY, record)
                    return
                self._raise_failure(record, revision, since)
                left = end - time.monotonic()
                if left <= 0:
                    raise StartTimeout(
                        f"{name} was not ready within {patience:g} s; revision {revision.number} "
                        "is deployed and is still starting"
                    )
                await asyncio.wait({news}, timeout=left)
            finally:
                news.cancel()

    def _last(self, kind: ProgressKind, record: FunctionRecord) -> Progress:
        replicas = self._loop.registry.of(record.name)
        status = function_status.of_function(record, replicas, detailed=True)
        return Progress(kind, function=status)

    def _is_ready(self, record: FunctionRecord, revision: Revision) -> bool:
        """Return whether the desired number of replicas is ready and Envoy routes to them."""
        wanted = wanted_of(record)
        replicas = wanted.replicas if revision == record.current else wanted.canaries
        if not replicas:
            return True
        ready = {
            replica.endpoint
            for replica in self._loop.registry.of(record.name)
            if replica.state is ReplicaState.READY and replica.key.revision == revision.number
        }
        route = self._routing.confirmed().get(record.name) or Route()
        return len(ready) >= replicas and all(endpoint in route for endpoint in ready)

    def _raise_failure(self, record: FunctionRecord, revision: Revision, since: float) -> None:
        replicas = self._loop.registry.of(record.name)
        condition = function_status.condition_of(record, replicas, revision.number)
        if condition is None or condition.last_crash is None or condition.last_crash.at < since:
            return
        if condition.state not in {FunctionState.READY, FunctionState.DEGRADED}:
            raise function_status.start_error(condition.last_crash)


def _replaced_by(record: FunctionRecord, revision: Revision) -> int | None:
    """Return the revision that has replaced a deployed one; None if it was not replaced."""
    canary = record.canary and record.canary.revision.number
    if revision.number in {record.current.number, canary}:
        return None
    return record.current.number
