"""The operations of a gateway, which the HTTP and the gRPC interface share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, Sequence

from dcf.builder.retained import RetainedArtifacts
from dcf.builder.uploads import Announced, Uploads
from dcf.catalog.catalog import Catalog
from dcf.catalog.isolation import Isolation
from dcf.controlplane import function_status, logs
from dcf.controlplane.activation.traffic_poller import TrafficPoller
from dcf.controlplane.deploy.deploy_request import DeployRequest
from dcf.controlplane.deploy.deploy_service import DeployService
from dcf.controlplane.loop import ControlLoop
from dcf.controlplane.metrics import Metrics
from dcf.controlplane.route_publisher import RoutePublisher
from dcf.engines.base import Engine
from dcf.errors import BlobsMissing, DcfError, NotReady, ReplicaUnknown
from dcf.model.artifact import BundleFile
from dcf.model.event import Event
from dcf.model.replica import ReplicaId, ReplicaState
from dcf.model.revision import FunctionRecord, Revision
from dcf.model.status import FunctionStatus, GatewayInfo, ReplicaLine, RevisionStatus
from dcf.protocol.progress import Progress
from dcf.settings import ControlSettings
from dcf.version import __version__

GONE = 5.0
"""Maximum seconds to wait until Envoy has removed the route of a deleted function."""

WRITE = 1 << 20
"""Bytes of a blob that are buffered before they are written."""


class GatewayService:
    """Reads and changes the state of the gateway. Not thread-safe: it belongs to one event loop."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        engine: Engine,
        loop: ControlLoop,
        routing: RoutePublisher,
        deploys: DeployService,
        uploads: Uploads,
        retained: RetainedArtifacts,
        poller: TrafficPoller,
        settings: ControlSettings,
    ) -> None:
        """Create the service.

        Args:
            catalog: What is deployed.
            engine: Where replicas run.
            loop: The control loop.
            routing: The routes that Envoy has confirmed.
            deploys: Runs deploys.
            uploads: Receives blobs.
            retained: The artifacts that must stay in the store.
            poller: Counts calls.
            settings: Limits.
        """
        self._catalog = catalog
        self._engine = engine
        self._loop = loop
        self._routing = routing
        self._deploys = deploys
        self._uploads = uploads
        self._retained = retained
        self._poller = poller
        self._settings = settings
        self._started = time.time()
        self._isolation = Isolation("reporting the state")

    # Queries

    async def functions(self) -> list[FunctionStatus]:
        """Return the status of all functions, sorted by name, without their replicas."""
        await self._poller.poll()
        records = await asyncio.to_thread(self._catalog.functions)
        replicas = self._loop.registry.by_function()
        statuses = []
        for record in records:
            with self._isolation.of(record.name):
                own = replicas.get(record.name, ())
                statuses.append(function_status.of_function(record, own))
        return statuses

    async def function(self, name: str) -> FunctionStatus:
        """Return the status of a function, with its replicas.

        Raises:
            FunctionNotFound: If it does not exist. The message suggests similar names.
        """
        await self._poller.poll()
        return self._status(await asyncio.to_thread(self._catalog.function, name))

    async def revisions(self, name: str) -> list[RevisionStatus]:
        """Return the revisions of a function, newest first.

        Raises:
            FunctionNotFound: If it does not exist.
        """
        record = await asyncio.to_thread(self._catalog.function, name)
        revisions = await asyncio.to_thread(self._catalog.revisions, name)
        canary = record.canary
        return [
            RevisionStatus(
                number=revision.number,
                artifact=revision.artifact.digest,
                created=revision.created,
                current=revision.number == record.current.number,
                share=(
                    canary.share if canary and canary.revision.number == revision.number else None
                ),
            )
            for revision in revisions
        ]

    async def events(self, name: str) -> list[Event]:
        """Return the events of a function, newest first.

        Raises:
            FunctionNotFound: If it does not exist.
        """
        await asyncio.to_thread(self._catalog.function, name)
        return await asyncio.to_thread(self._catalog.event_log.events, name)

    async def last_of(self, artifact: str, name: str) -> Revision:
        """Return the newest revision with an artifact; revisions of ``name`` have precedence.

        Args:
            artifact: The artifact's digest.
            name: The preferred function.

        Raises:
            BlobsMissing: If no revision has the artifact.
        """
        revision = await asyncio.to_thread(self._catalog.last_of, artifact, name)
        if revision is None:
            raise BlobsMissing(
                f"the gateway has no artifact {artifact}; upload the function with"
                " `dcf-cli function deploy`"
            )
        return revision

    async def info(self) -> GatewayInfo:
        """Return version and state of the gateway."""
        wanted = await asyncio.to_thread(self._catalog.wanted)
        ready = [
            replica for replica in self._loop.registry.all() if replica.state is ReplicaState.READY
        ]
        return GatewayInfo(
            version=__version__,
            functions=len(wanted),
            replicas=len(ready),
            started=self._started,
            engine=self._engine.name,
            open=self._settings.open,
        )

    async def metrics(self) -> Metrics:
        """Return the metrics of all functions."""
        traffic = await self._poller.poll()
        functions = await self.functions()
        return Metrics.of(functions, traffic, self._loop.registry.by_function())

    async def logs(
        self,
        name: str,
        *,
        since: float = 0.0,
        tail: int | None = None,
        follow: bool = False,
        replica: str = "",
    ) -> AsyncGenerator[ReplicaLine, None]:
        """Yield the log lines of a function's replicas, including recently ended ones.

        Args:
            name: The function.
            since: Earliest time, in seconds since the epoch.
            tail: Maximum number of existing lines; None yields all.
            follow: Whether to continue with new lines until the generator is closed.
            replica: Id of a single replica; "" selects all.

        Raises:
            FunctionNotFound: If the function does not exist.
            ReplicaUnknown: If the function has no replica with this id.
        """
        await asyncio.to_thread(self._catalog.function, name)
        if replica and replica not in self._logged(name):
            raise ReplicaUnknown(f"{name} has no replica {replica!r} with a log")

        def chosen() -> list[ReplicaId]:
            return [id_ for id_ in self._logged(name) if replica in {"", id_}]

        if follow:
            lines = logs.follow(self._engine, chosen, self._loop.news, since=since, tail=tail)
            async with contextlib.aclosing(lines):
                async for line in lines:
                    yield line
            return
        past = logs.read(self._engine, chosen(), since=since, tail=tail)
        async with contextlib.aclosing(past):
            async for printed_by, printed in past:
                yield ReplicaLine(printed.at, printed_by, printed.text)

    def _logged(self, name: str) -> list[ReplicaId]:
        running = [replica.id for replica in self._loop.registry.of(name) if replica.in_engine]
        return [*self._loop.registry.ended(name), *running]

    def _status(self, record: FunctionRecord) -> FunctionStatus:
        return function_status.of_function(
            record, self._loop.registry.of(record.name), detailed=True
        )

    async def why_not(self, name: str) -> DcfError:
        """Return the reason why a call reached the control plane instead of a replica.

        Raises:
            FunctionNotFound: If the function does not exist. The message suggests similar names.
        """
        record = await asyncio.to_thread(self._catalog.function, name)
        if not record.scaling.replicas:
            return NotReady(f"{name} is scaled to 0 replicas")
        condition = function_status.condition_of(record, self._loop.registry.of(name))
        if condition is not None and condition.last_crash is not None and not condition.takes_calls:
            return function_status.start_error(condition.last_crash)
        return NotReady(f"{name} has no ready replica yet")

    # Changes

    async def announce(self, files: Sequence[BundleFile], lock: str) -> Announced:
        """Store a bundle's list of files and a lock; return the blobs that are missing.

        Raises:
            BundleInvalid: If the list is invalid.
            StorageError: If it cannot be stored.
        """
        return await asyncio.to_thread(self._uploads.announce, files, lock)

    async def receive(
        self, digest: str, offset: int, chunks: AsyncIterable[bytes]
    ) -> tuple[int, bool]:
        """Receive a part of a blob.

        Args:
            digest: Digest of the blob.
            offset: Position of the part, in bytes.
            chunks: The part.

        Returns:
            The position of the next part, and whether the blob is complete.

        Raises:
            UploadInvalid: If the offset is not the expected one, or the complete content does not
                have this digest.
            StorageError: If it cannot be stored.
        """
        async with contextlib.AsyncExitStack() as stack:
            part = await asyncio.to_thread(
                stack.enter_context, self._uploads.receiving(digest, offset)
            )
            buffer = bytearray()
            try:
                async for chunk in chunks:
                    buffer += chunk
                    if len(buffer) >= WRITE:
                        await asyncio.to_thread(part.write, bytes(buffer))
                        buffer.clear()
            except BaseException:
                # A sender that disconnected resumes after the last received byte.
                with contextlib.suppress(DcfError):
                    await asyncio.to_thread(part.write, bytes(buffer))
                raise
            await asyncio.to_thread(part.write, bytes(buffer))
            complete = await asyncio.to_thread(part.finish)
            return part.offset, complete

    def deploy(self, request: DeployRequest) -> AsyncGenerator[Progress, None]:
        """Deploy; see :meth:`dcf.controlplane.deploy.deploy_service.DeployService.deploy`."""
        return self._deploys.deploy(request)

    async def delete(self, name: str) -> None:
        """Delete a function: first its route, then its replicas, which finish their calls.

        Raises:
            FunctionNotFound: If it does not exist.
        """
        await asyncio.to_thread(self._catalog.delete, name)
        self._loop.wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE):
                while self._routing.confirmed().get(name) is not None:
                    await self._loop.news()
        artifacts = await asyncio.to_thread(self._catalog.artifacts, self._settings.revisions)
        await asyncio.to_thread(self._retained.keep_only, artifacts)

    async def scale(self, name: str, replicas: int | None) -> FunctionStatus:
        """Set the number of replicas; return without waiting for them.

        Args:
            name: The function.
            replicas: A fixed number; None turns automatic scaling on again.

        Raises:
            FunctionNotFound: If it does not exist.
            SpecInvalid: If the number is negative or too large.
        """
        if replicas is None:
            await asyncio.to_thread(self._catalog.release, name)
        else:
            await asyncio.to_thread(self._catalog.scale, name, replicas)
        self._loop.wake()
        return await self.function(name)

    async def rollback(self, name: str, number: int | None = None) -> FunctionStatus:
        """Make an earlier revision current again; return without waiting for its replicas.

        Args:
            name: The function.
            number: The revision's number; None selects the previous one.

        Raises:
            FunctionNotFound: If the function or the revision does not exist.
            RolloutInvalid: If there is no previous revision.
        """
        await asyncio.to_thread(self._catalog.rollback, name, number)
        return await self._start_at_once(name)

    async def promote(self, name: str) -> FunctionStatus:
        """Make the canary the current revision; return without waiting for its replicas.

        Raises:
            FunctionNotFound: If the function does not exist.
            RolloutInvalid: If it has no canary.
        """
        await asyncio.to_thread(self._catalog.promote, name)
        return await self._start_at_once(name)

    async def abort(self, name: str) -> FunctionStatus:
        """Send all calls to the current revision and stop the canary; return without waiting.

        Raises:
            FunctionNotFound: If the function does not exist.
            RolloutInvalid: If it has no canary.
        """
        await asyncio.to_thread(self._catalog.abort, name)
        return await self._start_at_once(name)

    async def _start_at_once(self, name: str) -> FunctionStatus:
        self._loop.reset_backoff(name)
        return await self.function(name)
