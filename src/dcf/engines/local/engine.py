"""Replicas as processes of this machine, under the supervisor.

The engine itself holds nothing that must last: another one with the same supervisor, in this
process or the next, sees the same replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

from dcf.engines.base import ReplicaSpec
from dcf.engines.local.gpu import GpuSource, Nvml
from dcf.engines.local.replica import replica_environment
from dcf.engines.local.tracking import Track
from dcf.errors import ProcessNotStarted, ProcessUnknown, ReplicaExited, ReplicaUnknown
from dcf.function.secrets import SECRETS_DIR
from dcf.model.function import Resources
from dcf.model.log import LogLine
from dcf.model.replica import Observation, ReplicaId
from dcf.supervision.client import SupervisorClient
from dcf.supervision.messages import Event, EventKind, LogBound, ProcessSpec

PREFIX = "replica."
"""What the names of replicas' processes begin with; the supervisor has others as well."""

STAGE = 100
"""Replicas end last when the supervisor shuts down: after those who send them calls."""


class LocalEngine:
    """An engine (``dcf.engines.base.Engine``) on this machine."""

    def __init__(
        self,
        supervisor: SupervisorClient,
        base: Mapping[str, str],
        *,
        gpus: GpuSource | None = None,
        log: LogBound | None = None,
    ) -> None:
        """An engine that has asked for nothing yet.

        Args:
            supervisor: Runs the processes.
            base: This process's environment, on which the author's variables are laid.
            gpus: Where the machine's GPUs are looked up; None takes the real ones.
            log: How much of each replica's log is kept; None is the supervisor's default.
        """
        self._supervisor = supervisor
        self._base = base
        self._gpus = gpus or Nvml()
        self._log = log or LogBound()

    async def start(self, spec: ReplicaSpec) -> ReplicaId:
        """Starts ``python -m dcf.watcher``.

        Raises:
            ReplicaExited: When the interpreter cannot be started at all.
        """
        settings = replace(
            spec.settings, function=spec.function, root=str(spec.source), lifeline=True
        )
        extra = dict(spec.extra)
        if spec.secrets is not None:
            extra[SECRETS_DIR] = str(spec.secrets)
        listen = settings.listen
        process = ProcessSpec(
            name=PREFIX + spec.id,
            command=(str(spec.python), "-m", "dcf.watcher"),
            env=replica_environment(settings, spec.environment, extra, self._base),
            cwd=str(spec.source),
            lifeline=True,
            reports=True,
            sockets=(listen.removeprefix("unix:"),) if listen.startswith("unix:") else (),
            stage=STAGE,
            log=self._log,
        )
        try:
            await self._supervisor.start(process)
        except ProcessNotStarted as error:
            raise ReplicaExited(str(error)) from error
        return spec.id

    async def stop(self, replica: ReplicaId, grace: float) -> None:
        """Ends a replica and forgets it."""
        await self._supervisor.stop(PREFIX + replica, grace)

    async def observe(self) -> AsyncGenerator[Observation, None]:
        """Every replica as it is now, then every change."""
        tracks: dict[str, Track] = {}
        async with contextlib.aclosing(self._supervisor.observe()) as happened:
            async for item in happened:
                if isinstance(item, Event):
                    if _follow(tracks, item):
                        yield tracks[item.name].seen
                    continue
                for status in item:
                    if status.name.startswith(PREFIX):
                        tracks[status.name] = Track.of(_id_of(status.name), status)
                        yield tracks[status.name].seen

    async def logs(
        self, replica: ReplicaId, *, since: float = 0.0, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """What a replica printed."""
        lines = self._supervisor.logs(PREFIX + replica, since=since, follow=follow)
        async with contextlib.aclosing(lines):
            try:
                async for line in lines:
                    yield line
            except ProcessUnknown as error:
                raise ReplicaUnknown(f"there is no replica {replica!r}") from error

    async def capacity(self) -> Resources:
        """The machine's memory, the cores this process may use, and its GPUs."""
        affinity = getattr(os, "sched_getaffinity", None)
        inventory = await asyncio.to_thread(self._gpus.look)
        return Resources(
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            cpu=float(len(affinity(0)) if affinity else os.cpu_count() or 1),
            gpu=len(inventory.gpus),
        )


def _id_of(name: str) -> ReplicaId:
    return ReplicaId(name.removeprefix(PREFIX))


def _follow(tracks: dict[str, Track], event: Event) -> bool:
    """Takes in what happened to a process; returns whether that changed a replica."""
    if event.kind is EventKind.STARTED and event.name.startswith(PREFIX):
        tracks[event.name] = Track(_id_of(event.name))
        return True
    if event.kind is EventKind.FORGOTTEN:
        tracks.pop(event.name, None)
        return False
    track = tracks.get(event.name)
    return track is not None and track.take(event)
