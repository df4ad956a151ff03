"""Deploys functions: builds them, enters them into the catalog, waits for their replicas."""

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
from dcf.model.scaling import ScalingWish
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
        deployed: RetainedArtifacts,
        engine: Engine,
        settings: ControlSettings,
    ) -> None:
        """Has none to do yet.

        Args:
            catalog: What is deployed.
            loop: Brings about what the catalog wants.
            routing: Where calls go.
            deployed: Tells the store what must stay.
            engine: Prepares artifacts, and knows its capacity.
            settings: Bounds.
        """
        self._engine = engine
        self._catalog = catalog
        self._loop = loop
        self._routing = routing
        self._deployed = deployed
        self._settings = settings
        self._turns = DeployQueue()

    async def deploy(self, wanted: DeployRequest) -> AsyncGenerator[Progress, None]:
        """Build a function, enter it into the catalog, and wait for its replicas.

        A deploy whose environment exists does not wait for a build. Other deploys report what they
        wait for. Deploys of one function enter in the order of their arrival, unless an earlier one
        still builds another environment; that one fails. If the generator is closed before
        REVISION, nothing has changed.

        Raises:
            BlobsMissing: When not all was uploaded.
            BuildError: When the environment cannot be made.
            Overloaded: When too many deploys are waiting.
            RolloutInvalid: When a later deploy of the function has entered first.
            SecretNotFound: When a secret is missing on the gateway's machine.
            SpecInvalid: When the bounds of the number of replicas do not fit.
            StartError: When the new revision cannot be started. It stays deployed, and the previous
                revision keeps serving.
            StartTimeout: When it is not ready in time. It stays deployed.
            StorageError: When the disk does not take it.
        """
        name = wanted.spec.name
        await self._engine.check(wanted.spec)
        await self._check_gpus(wanted)
        if self._turns.count >= MOST:
            raise Overloaded(f"{MOST} deploys are under way", RETRY_AFTER)
        environment = (wanted.artifact.lock, wanted.spec.python)
        with self._turns.joined(name, environment) as turn:
            progress = build(self._engine, wanted.artifact, wanted.spec)
            async with contextlib.aclosing(progress):
                async for step in progress:
                    self._turns.builds(turn, builds=True)
                    yield step
            self._turns.builds(turn, builds=False)
            if not self._turns.is_next(name, turn):
                waits = f"Waiting for an earlier deploy of {name}"
                yield Progress(ProgressKind.NOTICE, detail=waits)
                await self._turns.come(name, turn)
            if turn.overtaken_by:
                raise RolloutInvalid(
                    f"revision {turn.overtaken_by} of {name} was deployed while this build ran, and"
                    " keeps serving; deploy again to replace it"
                )
            before = time.time()
            revision, is_new = await asyncio.to_thread(self._enter, wanted)
            self._turns.entered(name, turn, revision.number)
        if not is_new:
            self._loop.reset_backoff(name)
        self._loop.wake()
        yield Progress(ProgressKind.REVISION, number=revision.number, is_new=is_new)
        if wanted.wait:
            waiting = self._wait_until_ready(revision, before, wanted.timeout)
            async with contextlib.aclosing(waiting):
                async for step in waiting:
                    yield step
        else:
            record = await asyncio.to_thread(self._catalog.function, name)
            yield self._last(ProgressKind.ACCEPTED, record)

    async def _check_gpus(self, wanted: DeployRequest) -> None:
        """Looks whether as many replicas as are asked for could ever have their GPUs."""
        spec = wanted.spec
        each = max(spec.limits.gpu or 0, spec.requests.gpu or 0)
        known = (await self._engine.capacity()).gpu
        if not each or not known:
            return  # none here: what asks for one at most runs on the CPU
        wish = ScalingWish(wanted.minimum, wanted.maximum).over(spec.scaling)
        replicas = max(wish.maximum or 1, wish.minimum or 1)
        if replicas * each > known:
            raise GpuUnavailable(replicas * each, known, known)

    def _enter(self, wanted: DeployRequest) -> tuple[Revision, bool]:
        """Takes a deployment into the catalog; tells whether it makes a new revision. Blocks."""
        try:
            before = self._catalog.function(wanted.spec.name).current.number
        except FunctionNotFound:
            before = 0
        revision = self._catalog.deploy(
            wanted.spec,
            wanted.artifact,
            wish=ScalingWish(wanted.minimum, wanted.maximum),
            annotations=wanted.annotations,
            canary=wanted.canary,
            kept=self._settings.revisions,
        )
        self._deployed.keep_only(self._catalog.artifacts(self._settings.revisions))
        return revision, revision.number != before

    async def _wait_until_ready(
        self, revision: Revision, since: float, patience: float
    ) -> AsyncGenerator[Progress, None]:
        name = revision.function
        end = time.monotonic() + patience
        while True:
            # Asked for before looking: what happens from here on is not missed.
            news = asyncio.ensure_future(self._loop.news())
            try:
                record = await asyncio.to_thread(self._catalog.function, name)
                if (number := _replaced_by(record, revision)) is not None:
                    detail = f"revision {revision.number} was replaced by {number} meanwhile"
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
                        "is deployed and goes on starting"
                    )
                await asyncio.wait({news}, timeout=left)
            finally:
                news.cancel()

    def _last(self, kind: ProgressKind, record: FunctionRecord) -> Progress:
        seen = self._loop.fleet.of(record.name)
        return Progress(kind, function=function_status.of_function(record, seen, detailed=True))

    def _is_ready(self, record: FunctionRecord, revision: Revision) -> bool:
        """Whether as many replicas as are wanted are ready, and calls reach them."""
        wanted = wanted_of(record)
        replicas = wanted.replicas if revision == record.current else wanted.canaries
        if not replicas:
            return True
        ready = {
            one.endpoint
            for one in self._loop.fleet.of(record.name)
            if one.state is ReplicaState.READY and one.key.revision == revision.number
        }
        route = self._routing.confirmed().get(record.name) or Route()
        return len(ready) >= replicas and all(one in route for one in ready)

    def _raise_failure(self, record: FunctionRecord, revision: Revision, since: float) -> None:
        seen = self._loop.fleet.of(record.name)
        found = function_status.condition_of(record, seen, revision.number)
        if found is None or found.last_crash is None or found.last_crash.at < since:
            return
        if found.state not in {FunctionState.READY, FunctionState.DEGRADED}:
            raise function_status.start_error(found.last_crash)


def _replaced_by(record: FunctionRecord, revision: Revision) -> int | None:
    """The revision that serves in the place of one that was just deployed; None when it does."""
    canary = record.canary and record.canary.revision.number
    if revision.number in {record.current.number, canary}:
        return None
    return record.current.number
