"""What a gateway can be asked for, however it is asked."""

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
"""Seconds to wait until Envoy has forgotten a function that is deleted."""

WRITE = 1 << 20
"""Bytes of a blob that are gathered before they are handed to the disk."""


class GatewayService:
    """Answers for catalog, loop and store. All on one event loop."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        engine: Engine,
        loop: ControlLoop,
        routing: RoutePublisher,
        deploys: DeployService,
        uploads: Uploads,
        deployed: RetainedArtifacts,
        counting: TrafficPoller,
        settings: ControlSettings,
    ) -> None:
        """Joins the parts.

        Args:
            catalog: What is deployed.
            engine: Where replicas run.
            loop: Brings about what the catalog wants.
            routing: Where calls go.
            deploys: Takes deploys.
            uploads: Takes blobs.
            deployed: Tells the store what must stay.
            counting: Counts calls.
            settings: Bounds.
        """
        self._catalog = catalog
        self._engine = engine
        self._loop = loop
        self._routing = routing
        self._deploys = deploys
        self._uploads = uploads
        self._deployed = deployed
        self._counting = counting
        self._settings = settings
        self._started = time.time()
        self._isolation = Isolation("telling the state")

    # What is known

    async def functions(self) -> list[FunctionStatus]:
        """Every function, by name, without its replicas."""
        await self._counting.look()
        records = await asyncio.to_thread(self._catalog.functions)
        fleet = self._loop.fleet.by_function()
        found = []
        for record in records:
            with self._isolation.of(record.name):
                found.append(function_status.of_function(record, fleet.get(record.name, ())))
        return found

    async def function(self, name: str) -> FunctionStatus:
        """One function, with its replicas.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        await self._counting.look()
        return self._status(await asyncio.to_thread(self._catalog.function, name))

    async def revisions(self, name: str) -> list[RevisionStatus]:
        """A function's revisions, newest first.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        record = await asyncio.to_thread(self._catalog.function, name)
        found = await asyncio.to_thread(self._catalog.revisions, name)
        canary = record.canary
        return [
            RevisionStatus(
                number=one.number,
                artifact=one.artifact.digest,
                created=one.created,
                current=one.number == record.current.number,
                share=canary.share if canary and canary.revision.number == one.number else None,
            )
            for one in found
        ]

    async def events(self, name: str) -> list[Event]:
        """What happened to a function, newest first.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        await asyncio.to_thread(self._catalog.function, name)
        return await asyncio.to_thread(self._catalog.journal.events, name)

    async def last_of(self, artifact: str, name: str) -> Revision:
        """The newest revision with an artifact, of a certain function if that has one.

        Args:
            artifact: The artifact's digest.
            name: The function whose own revisions come first.

        Raises:
            BlobsMissing: When no revision has it.
        """
        found = await asyncio.to_thread(self._catalog.last_of, artifact, name)
        if found is None:
            raise BlobsMissing(
                f"there is no artifact {artifact} here; `dcf-cli function deploy` sends a function"
            )
        return found

    async def info(self) -> GatewayInfo:
        """The gateway itself."""
        wanted = await asyncio.to_thread(self._catalog.wanted)
        ready = [one for one in self._loop.fleet.all() if one.state is ReplicaState.READY]
        return GatewayInfo(
            version=__version__,
            functions=len(wanted),
            replicas=len(ready),
            started=self._started,
            engine=self._engine.name,
            open=self._settings.open,
        )

    async def metrics(self) -> Metrics:
        """Figures of every function."""
        traffic = await self._counting.look()
        functions = await self.functions()
        return Metrics.of(functions, traffic, self._loop.fleet.by_function())

    async def logs(
        self,
        name: str,
        *,
        since: float = 0.0,
        tail: int | None = None,
        follow: bool = False,
        replica: str = "",
    ) -> AsyncGenerator[ReplicaLine, None]:
        """What a function's replicas printed, also those that ended of late.

        Args:
            name: Which function.
            since: Lines from this time on, in seconds since the epoch.
            tail: At most this many of the lines that are there; None is all.
            follow: Whether to go on with what its replicas print until closed.
            replica: Of this one alone; "" is all.

        Raises:
            FunctionNotFound: With the nearest names.
            ReplicaUnknown: When the function has no such replica.
        """
        await asyncio.to_thread(self._catalog.function, name)
        if replica and replica not in self._logged(name):
            raise ReplicaUnknown(f"{name} has no replica {replica!r} with a log")

        def chosen() -> list[ReplicaId]:
            return [one for one in self._logged(name) if replica in {"", one}]

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
        living = [one.id for one in self._loop.fleet.of(name) if one.told]
        return [*self._loop.fleet.ended(name), *living]

    def _status(self, record: FunctionRecord) -> FunctionStatus:
        return function_status.of_function(record, self._loop.fleet.of(record.name), detailed=True)

    async def why_not(self, name: str) -> DcfError:
        """Why a call has come here and not to a replica.

        Raises:
            FunctionNotFound: When there is no such function; with the nearest names.
        """
        record = await asyncio.to_thread(self._catalog.function, name)
        if not record.scaling.replicas:
            return NotReady(f"{name} is scaled to 0 replicas")
        found = function_status.condition_of(record, self._loop.fleet.of(name))
        if found is not None and found.last_crash is not None and not found.takes_calls:
            return function_status.start_error(found.last_crash)
        return NotReady(f"{name} has no replica that is ready yet")

    # What changes it

    async def announce(self, files: Sequence[BundleFile], lock: str) -> Announced:
        """Takes a bundle's list and a lock; tells what is missing.

        Raises:
            BundleInvalid: When the list breaks a rule.
            StorageError: When it cannot be kept.
        """
        return await asyncio.to_thread(self._uploads.announce, files, lock)

    async def receive(
        self, digest: str, offset: int, chunks: AsyncIterable[bytes]
    ) -> tuple[int, bool]:
        """Takes a part of a blob.

        Args:
            digest: The blob's.
            offset: Where the part belongs, in bytes.
            chunks: The part.

        Returns:
            Where the next part belongs, and whether the blob is whole.

        Raises:
            UploadInvalid: When it is not the part that is wanted, or the whole is not that blob.
            StorageError: When it cannot be kept.
        """
        async with contextlib.AsyncExitStack() as stack:
            part = await asyncio.to_thread(
                stack.enter_context, self._uploads.receiving(digest, offset)
            )
            gathered = bytearray()
            try:
                async for chunk in chunks:
                    gathered += chunk
                    if len(gathered) >= WRITE:
                        await asyncio.to_thread(part.write, bytes(gathered))
                        gathered.clear()
            except BaseException:
                # What a sender that vanished has sent need not be sent again.
                with contextlib.suppress(DcfError):
                    await asyncio.to_thread(part.write, bytes(gathered))
                raise
            await asyncio.to_thread(part.write, bytes(gathered))
            complete = await asyncio.to_thread(part.finish)
            return part.offset, complete

    def deploy(self, wanted: DeployRequest) -> AsyncGenerator[Progress, None]:
        """Deploys; see :meth:`dcf.controlplane.deploy.deploy_service.DeployService.deploy`."""
        return self._deploys.deploy(wanted)

    async def delete(self, name: str) -> None:
        """Takes a function away: calls first, then its replicas, which finish what they have.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        await asyncio.to_thread(self._catalog.delete, name)
        self._loop.wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE):
                while self._routing.confirmed().get(name) is not None:
                    await self._loop.news()
        kept = await asyncio.to_thread(self._catalog.artifacts, self._settings.revisions)
        await asyncio.to_thread(self._deployed.keep_only, kept)

    async def scale(self, name: str, replicas: int | None) -> FunctionStatus:
        """Asks for a number of replicas; returns at once.

        Args:
            name: The function.
            replicas: How many, until told otherwise; None has it scale by itself again.

        Raises:
            FunctionNotFound: With the nearest names.
            SpecInvalid: When the number is negative or too large.
        """
        if replicas is None:
            await asyncio.to_thread(self._catalog.release, name)
        else:
            await asyncio.to_thread(self._catalog.scale, name, replicas)
        self._loop.wake()
        return await self.function(name)

    async def rollback(self, name: str, number: int | None = None) -> FunctionStatus:
        """Makes an earlier revision the current one again; returns at once.

        Args:
            name: The function.
            number: Which; None takes the one before the current one.

        Raises:
            FunctionNotFound: When there is no such function or revision.
            RolloutInvalid: When there is none before the current one.
        """
        await asyncio.to_thread(self._catalog.rollback, name, number)
        return await self._served(name)

    async def promote(self, name: str) -> FunctionStatus:
        """Makes the canary the current revision; returns at once.

        Raises:
            FunctionNotFound: With the nearest names.
            RolloutInvalid: When there is no canary.
        """
        await asyncio.to_thread(self._catalog.promote, name)
        return await self._served(name)

    async def abort(self, name: str) -> FunctionStatus:
        """Ends the canary; returns at once.

        Raises:
            FunctionNotFound: With the nearest names.
            RolloutInvalid: When there is no canary.
        """
        await asyncio.to_thread(self._catalog.abort, name)
        return await self._served(name)

    async def _served(self, name: str) -> FunctionStatus:
        self._loop.reset_backoff(name)
        return await self.function(name)
