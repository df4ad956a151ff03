"""Replicas as processes of this machine, under a supervisor.

The engine keeps no state that must last: another engine with the same supervisor, in this process
or the next, sees the same replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from dcf.builder.build_progress import SILENT, Listener
from dcf.builder.uv import BuildStop
from dcf.engines.base import EngineFeatures, ReplicaSpec
from dcf.engines.local.cgroups import Cgroups
from dcf.engines.local.gpu import GpuSource, Nvml, describe, restrict
from dcf.engines.local.limit_enforcer import LimitEnforcer
from dcf.engines.local.limits import WATCHED, Limits
from dcf.engines.local.memory_watchdog import MemoryWatchdog
from dcf.engines.local.observation import Track, read_note, to_note
from dcf.engines.local.replica_files import ReplicaFiles, ReplicaLayout
from dcf.engines.local.watcher_process import replica_environment, watcher_command
from dcf.errors import ProcessNotStarted, ProcessUnknown, ReplicaExited, ReplicaUnknown
from dcf.function.secrets import SECRETS_DIR
from dcf.model.artifact import Artifact
from dcf.model.endpoint import unix_path
from dcf.model.function import FunctionSpec, Resources
from dcf.model.log import LogLine
from dcf.model.replica import Observation, ReplicaId
from dcf.net.listeners import endpoint_of
from dcf.protocol.signals import LOG_STACKS
from dcf.supervision.embedded import EmbeddedSupervisor
from dcf.supervision.identity import Identity, identify, is_stopped, kill_group
from dcf.supervision.process_messages import (
    ExitRecord,
    ProcessEvent,
    ProcessEventKind,
    ProcessSpec,
    ProcessStatus,
)
from dcf.supervision.states import ENDED, ProcessState
from dcf.supervision.supervisor_client import SupervisorClient

logger = logging.getLogger("dcf.engines")

PREFIX = "replica."
"""Prefix of the names of replicas' processes; the supervisor has other processes as well."""

STAGE = 100
"""Replicas end last when the supervisor shuts down: after the processes that send them calls."""

STACKS_TAKE = 0.5
"""Seconds for a watcher to write its stacks: its log is a pipe with a fast reader."""


class LocalEngine:
    """An engine (``dcf.engines.base.Engine``) on this machine."""

    name = "local"

    def __init__(
        self,
        supervisor: SupervisorClient | EmbeddedSupervisor,
        files: ReplicaFiles,
        base: Mapping[str, str],
        *,
        extra: Mapping[str, str] | None = None,
        gpus: GpuSource | None = None,
        cgroups: Cgroups | None = None,
    ) -> None:
        """Create an engine that has not contacted its supervisor yet.

        Args:
            supervisor: Runs the processes. One in this process also accepts a listening socket.
            files: Lays replicas out.
            base: This process's environment, to which the author's variables are added.
            extra: The framework's variables for every replica.
            gpus: Lists the machine's GPUs; None uses the real ones.
            cgroups: Where control groups can be created; None finds out.
        """
        embedded = supervisor if isinstance(supervisor, EmbeddedSupervisor) else None
        self.features = EngineFeatures(
            listener=embedded is not None, limits=True, gpus=True, logs=embedded is None
        )
        self._supervisor = supervisor
        self._embedded = embedded
        self._files = files
        self._base = base
        self._extra = dict(extra or {})
        self._gpus = gpus or Nvml()
        self._limiter = LimitEnforcer(
            supervisor.path, base, self._gpus, cgroups, keeps_gpus=embedded is not None
        )
        self._memory = MemoryWatchdog()
        self._leaders: dict[str, Identity] = {}
        self._choosing = asyncio.Lock()
        self._starts: dict[ReplicaId, asyncio.Event] = {}
        self._abandoned: set[ReplicaId] = set()

    async def check(self, function: FunctionSpec) -> None:
        """Check that the function's secrets are there."""
        await asyncio.to_thread(self._files.check, function.secrets)

    async def prepare(
        self, artifact: Artifact, function: FunctionSpec, listener: Listener = SILENT
    ) -> None:
        """Make the artifact's environment."""
        stop = BuildStop()
        # A build may wait long, so it gets its own thread and does not occupy the shared pool.
        executor = ThreadPoolExecutor(1, thread_name_prefix="build")
        work = asyncio.get_running_loop().run_in_executor(
            executor,
            partial(self._files.environment, artifact, function, listener=listener, stop=stop),
        )
        executor.shutdown(wait=False)
        try:
            await work
        finally:
            stop.set()

    async def start(self, spec: ReplicaSpec, listener: socket.socket | None = None) -> ReplicaId:
        """Start ``python -m dcf.watcher``.

        Raises:
            ReplicaExited: If the interpreter cannot be started at all.
            ConfinementFailed: If the replica cannot be held to its limits.
            GpuUnavailable: If too few GPUs are free.
        """
        while (running := self._starts.get(spec.id)) is not None:
            await running.wait()
        self._starts[spec.id] = asyncio.Event()
        try:
            if not await self._is_known(spec.id):
                layout = await asyncio.to_thread(self._files.lay_out, spec)
                await self._start(spec, layout, listener)
        finally:
            self._abandoned.discard(spec.id)
            self._starts.pop(spec.id).set()
        return spec.id

    async def _is_known(self, replica: ReplicaId) -> bool:
        return any(
            status.name == PREFIX + replica and status.state is not ProcessState.STOPPING
            for status in await self._supervisor.list()
        )

    async def _start(
        self, spec: ReplicaSpec, layout: ReplicaLayout, listener: socket.socket | None
    ) -> None:
        try:
            # One at a time: what one replica gets must be taken for the next.
            async with self._choosing:
                others: dict[ReplicaId, Limits] = {}
                for status in await self._supervisor.list():
                    if status.name.startswith(PREFIX):
                        note = "" if status.state in ENDED else status.note
                        others[_id_of(status.name)] = Limits.from_note(note)
                process = await asyncio.to_thread(self._process, spec, layout, others, listener)
                if spec.id not in self._abandoned:
                    await self._start_process(process, listener)
                    return
        except ProcessNotStarted as error:
            await asyncio.to_thread(self._release, spec.id)
            raise ReplicaExited(str(error)) from error
        except BaseException:
            await asyncio.to_thread(self._release, spec.id)
            raise
        await asyncio.to_thread(self._release, spec.id)

    async def _start_process(self, process: ProcessSpec, listener: socket.socket | None) -> None:
        if listener is None:
            await self._supervisor.start(process)
        elif self._embedded is not None:
            await self._embedded.start(process, inherited=(listener.fileno(),))
        else:
            raise ReplicaExited("a supervisor in another process accepts no listening socket")

    def _process(
        self,
        spec: ReplicaSpec,
        layout: ReplicaLayout,
        others: Mapping[ReplicaId, Limits],
        listener: socket.socket | None,
    ) -> ProcessSpec:
        limits = self._limiter.confine(spec, others)
        listen = layout.listen if listener is None else str(endpoint_of(listener))
        settings = replace(
            spec.settings,
            root=str(layout.source),
            listen=listen if listener is None else f"fd:{listener.fileno()}",
            call_table=layout.call_table,
            lifeline=True,
        )
        settings = self._limiter.settings(settings, spec.id, limits)
        extra = {**self._extra, **self._limiter.variables(spec, limits)}
        if layout.secrets is not None:
            extra[SECRETS_DIR] = str(layout.secrets)
        base = {**self._base, **limits.thread_variables()}
        environment = spec.spec.environment
        return ProcessSpec(
            name=PREFIX + spec.id,
            command=tuple(watcher_command(layout.python)),
            env=replica_environment(settings, environment, extra, base, memory=limits.memory),
            cwd=str(layout.source),
            lifeline=True,
            reports=True,
            sockets=(path,) if (path := unix_path(listen)) else (),
            stage=STAGE,
            note=to_note(limits, listen),
        )

    async def stop(self, replica: ReplicaId, grace: float) -> None:
        """End a replica and forget it."""
        if (running := self._starts.get(replica)) is not None:
            self._abandoned.add(replica)
            await running.wait()
        await self._supervisor.stop(PREFIX + replica, grace)
        await asyncio.to_thread(self._release, replica)

    def _release(self, replica: ReplicaId) -> None:
        self._limiter.release(replica)
        self._files.remove(replica)

    async def observe(self) -> AsyncGenerator[tuple[Observation, ...] | Observation, None]:
        """Yield the state of every replica, then every change."""
        tracks: dict[str, Track] = {}
        watch = asyncio.create_task(self._memory.run())
        try:
            async with contextlib.aclosing(self._supervisor.observe()) as events:
                async for item in events:
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
        """Track a replica that exists already."""
        track = Track.of(_id_of(status.name), status)
        if status.exit is not None:
            track.exited(status.exit, self._why(status.name, track.confinement, status.exit))
        else:
            self._watch(status.name, status.pid, track)
        return track

    def _follow(self, tracks: dict[str, Track], event: ProcessEvent) -> bool:
        """Apply an event of a process; return whether it changed a replica."""
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
        """Yield what a replica printed."""
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
        return next((status.pid for status in statuses if status.name == PREFIX + replica), 0)

    async def capacity(self) -> Resources:
        """Return the machine's memory, the cores that this process may use, and the GPUs."""
        affinity = getattr(os, "sched_getaffinity", None)
        inventory = await asyncio.to_thread(self._gpus.look)
        return Resources(
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            cpu=float(len(affinity(0)) if affinity else os.cpu_count() or 1),
            gpu=len(inventory.gpus),
        )

    async def describe_gpus(self) -> tuple[str, ...]:
        """Return the driver's version and the GPUs that CUDA_VISIBLE_DEVICES allows."""
        return describe(restrict(await asyncio.to_thread(self._gpus.look), self._base))

    def close(self) -> None:
        """Free the GPUs that this process holds for its replicas."""
        self._limiter.close()

    async def cleanup(self) -> None:
        """Remove the folders and call tables of replicas that no longer exist."""
        # In this order, a folder whose replica is being started is never removed.
        folders = await asyncio.to_thread(self._files.existing)
        starting = set(self._starts)
        known = {_id_of(status.name) for status in await self._supervisor.list()}
        for replica in folders - starting - known:
            await asyncio.to_thread(self._files.remove, replica)
        await asyncio.to_thread(self._files.clean_call_tables)


def _id_of(name: str) -> ReplicaId:
    return ReplicaId(name.removeprefix(PREFIX))
