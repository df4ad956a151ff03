"""Replicas as processes of this machine, under the supervisor.

The engine itself holds nothing that must last: another one with the same supervisor, in this
process or the next, sees the same replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

from dcf.engines.base import ReplicaSpec
from dcf.engines.local.cgroups import Cgroups
from dcf.engines.local.gpu import GpuSource, Nvml
from dcf.engines.local.limit_enforcer import LimitEnforcer
from dcf.engines.local.limits import WATCHED, Limits
from dcf.engines.local.local_replica import replica_environment, watcher_command
from dcf.engines.local.memory_watchdog import MemoryWatchdog
from dcf.engines.local.observation import Track, read_note, to_note
from dcf.errors import ProcessNotStarted, ProcessUnknown, ReplicaExited, ReplicaUnknown
from dcf.function.secrets import SECRETS_DIR
from dcf.model.endpoint import unix_path
from dcf.model.function import Resources
from dcf.model.log import LogLine
from dcf.model.replica import Observation, ReplicaId
from dcf.protocol.signals import LOG_STACKS
from dcf.supervision.identity import Identity, identify, is_stopped, kill_group
from dcf.supervision.process_messages import (
    ExitRecord,
    LogBound,
    ProcessEvent,
    ProcessEventKind,
    ProcessSpec,
    ProcessStatus,
)
from dcf.supervision.states import ENDED, ProcessState
from dcf.supervision.supervisor_client import SupervisorClient

logger = logging.getLogger("dcf.engines")

PREFIX = "replica."
"""What the names of replicas' processes begin with; the supervisor has others as well."""

STAGE = 100
"""Replicas end last when the supervisor shuts down: after those who send them calls."""

STACKS_TAKE = 0.5
"""Seconds for a watcher to write its stacks: its log is a pipe with a fast reader."""


class LocalEngine:
    """An engine (``dcf.engines.base.Engine``) on this machine."""

    def __init__(
        self,
        supervisor: SupervisorClient,
        base: Mapping[str, str],
        *,
        gpus: GpuSource | None = None,
        cgroups: Cgroups | None = None,
        log: LogBound | None = None,
    ) -> None:
        """An engine that has asked for nothing yet.

        Args:
            supervisor: Runs the processes.
            base: This process's environment, on which the author's variables are laid.
            gpus: Where the machine's GPUs are looked up; None takes the real ones.
            cgroups: Where control groups can be made; None tries it out.
            log: How much of each replica's log is kept; None is the supervisor's default.
        """
        self._supervisor = supervisor
        self._base = base
        self._gpus = gpus or Nvml()
        self._limiter = LimitEnforcer(supervisor.socket, base, self._gpus, cgroups)
        self._memory = MemoryWatchdog()
        self._leaders: dict[str, Identity] = {}
        self._starting = asyncio.Lock()
        self._log = log or LogBound()

    async def start(self, spec: ReplicaSpec) -> ReplicaId:
        """Starts ``python -m dcf.watcher``.

        Raises:
            ReplicaExited: When the interpreter cannot be started at all.
            ConfinementFailed: When it cannot be held to its limits.
            GpuUnavailable: When too few GPUs are free for it.
        """
        # One at a time: what one is given, the next must see as taken.
        async with self._starting:
            others: dict[ReplicaId, Limits] = {}
            for status in await self._supervisor.list():
                if status.name == PREFIX + spec.id and status.state is not ProcessState.STOPPING:
                    return spec.id
                if status.name.startswith(PREFIX):
                    note = "" if status.state in ENDED else status.note
                    others[_id_of(status.name)] = Limits.from_note(note)
            process = await asyncio.to_thread(self._process, spec, others)
            try:
                await self._supervisor.start(process)
            except ProcessNotStarted as error:
                await asyncio.to_thread(self._limiter.release, spec.id)
                raise ReplicaExited(str(error)) from error
        return spec.id

    def _process(self, spec: ReplicaSpec, others: Mapping[ReplicaId, Limits]) -> ProcessSpec:
        confinement = self._limiter.confine(spec, others)
        settings = replace(
            spec.settings, function=spec.function, root=str(spec.source), lifeline=True
        )
        settings = self._limiter.settings(settings, spec.id, confinement)
        extra = {**spec.extra, **self._limiter.variables(spec, confinement)}
        if spec.secrets is not None:
            extra[SECRETS_DIR] = str(spec.secrets)
        base = {**self._base, **confinement.thread_variables()}
        listen = settings.listen
        return ProcessSpec(
            name=PREFIX + spec.id,
            command=tuple(watcher_command(spec.python)),
            env=replica_environment(
                settings, spec.environment, extra, base, memory=confinement.memory
            ),
            cwd=str(spec.source),
            lifeline=True,
            reports=True,
            sockets=(socket,) if (socket := unix_path(listen)) else (),
            stage=STAGE,
            log=self._log,
            note=to_note(confinement, listen),
        )

    async def stop(self, replica: ReplicaId, grace: float) -> None:
        """Ends a replica and forgets it."""
        await self._supervisor.stop(PREFIX + replica, grace)
        await asyncio.to_thread(self._limiter.release, replica)

    async def observe(self) -> AsyncGenerator[tuple[Observation, ...] | Observation, None]:
        """Every replica as it is now, then every change."""
        tracks: dict[str, Track] = {}
        watch = asyncio.create_task(self._memory.run())
        try:
            async with contextlib.aclosing(self._supervisor.observe()) as happened:
                async for item in happened:
                    if isinstance(item, ProcessEvent):
                        if self._follow(tracks, item):
                            yield tracks[item.name].seen
                        continue
                    for status in item:
                        if status.name.startswith(PREFIX):
                            tracks[status.name] = self._found(status)
                    yield tuple(track.seen for track in tracks.values())
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    def _found(self, status: ProcessStatus) -> Track:
        """Follows a replica that is there already."""
        track = Track.of(_id_of(status.name), status)
        if status.exit is not None:
            track.exited(status.exit, self._why(status.name, track.confinement, status.exit))
        else:
            self._watch(status.name, status.pid, track)
        return track

    def _follow(self, tracks: dict[str, Track], event: ProcessEvent) -> bool:
        """Takes in what happened to a process; returns whether that changed a replica."""
        name = event.name
        if event.kind is ProcessEventKind.STARTED and name.startswith(PREFIX):
            track = tracks[name] = Track(_id_of(name), *read_note(event.note))
            self._watch(name, event.pid, track)
            return True
        known = tracks.get(name)
        if known is None:
            return False
        if event.kind is ProcessEventKind.REPORTED:
            has_changed = known.reported(event.report, event.at)
            if known.fault:
                self._end_faulty(name, known)
            return has_changed
        if event.kind is ProcessEventKind.EXITED and event.exit is not None:
            self._memory.remove(name)
            self._leaders.pop(name, None)
            return known.exited(event.exit, self._why(name, known.confinement, event.exit))
        if event.kind is ProcessEventKind.FORGOTTEN:
            self._memory.forget(name)
            del tracks[name]
        return False

    def _watch(self, name: str, pid: int, track: Track) -> None:
        if (leader := identify(pid)) is not None:
            self._leaders[name] = leader
        if track.confinement.memory_by == WATCHED:
            self._memory.add(name, pid, track.confinement.memory)
        if track.fault:
            self._end_faulty(name, track)

    def _end_faulty(self, name: str, track: Track) -> None:
        """End a replica whose reports are invalid; do nothing the second time."""
        if (leader := self._leaders.pop(name, None)) is not None and kill_group(leader):
            logger.error("%s is ended: %s", _id_of(name), track.fault)

    def _why(self, name: str, confinement: Limits, ended: ExitRecord) -> str:
        killed = self._memory.ended.get(name)
        return killed or self._limiter.why(_id_of(name), confinement, ended)

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

    async def is_suspended(self, replica: ReplicaId) -> bool:
        """Return whether the watcher's process is stopped. Only known on Linux."""
        pid = await self._pid(replica)
        return pid > 0 and is_stopped(pid)

    async def log_stacks(self, replica: ReplicaId) -> None:
        """Send the watcher a signal that the interpreter handles without its lock."""
        pid = await self._pid(replica)
        if pid > 0 and LOG_STACKS is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, LOG_STACKS)
            await asyncio.sleep(STACKS_TAKE)

    async def _pid(self, replica: ReplicaId) -> int:
        """Return the process id of a replica; 0 if it has no process."""
        statuses = await self._supervisor.list()
        return next((one.pid for one in statuses if one.name == PREFIX + replica), 0)

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
