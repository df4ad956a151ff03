"""Chooses how replicas are held to their limits on this machine, and enforces it."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

from dcf.engines.base import ReplicaSpec
from dcf.engines.local.cgroups import CPU, MEMORY, Cgroups
from dcf.engines.local.gpu import (
    Demand,
    Gpu,
    GpuSource,
    lock_file,
    reserve,
    restrict,
    visible_devices,
)
from dcf.engines.local.limits import AFFINITY, NOTHING, RLIMIT, WATCHED, Limits, size
from dcf.errors import ConfinementFailed
from dcf.model.replica import ReplicaId
from dcf.settings import Locations, WatcherSettings
from dcf.supervision.process_messages import ExitRecord

logger = logging.getLogger("dcf.engines")

PATIENCE = 2.0
"""Seconds for the killed processes of a group to end."""

CRASHES = frozenset({-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS})
"""How a program in C may end if it does not handle a failed allocation."""


class LimitEnforcer:
    """Control groups, cores and GPUs for the replicas of one supervisor.

    Its methods may block for a moment: call them in a thread.
    """

    def __init__(
        self,
        owner: Path,
        base: Mapping[str, str],
        gpus: GpuSource,
        cgroups: Cgroups | None = None,
        *,
        keeps_gpus: bool = False,
    ) -> None:
        """Create an enforcer. It looks at nothing yet.

        Args:
            owner: A path that distinguishes this supervisor's groups from those of others.
            base: This process's environment.
            gpus: Lists the machine's GPUs.
            cgroups: Where groups can be created; None finds out.
            keeps_gpus: Whether this process locks the GPUs itself until :meth:`close`, for
                replicas of one function that replace each other and share them. Otherwise each
                replica locks its own.
        """
        self._prefix = group_prefix(owner)
        self._base = base
        self._gpus = gpus
        self._guards = Locations.from_mapping(base).gpu_locks
        self._cgroups = cgroups
        self._finding = threading.Lock()
        self._swept = False
        self._keeps_gpus = keeps_gpus
        self._kept: tuple[str, ...] = ()
        self._locks = ExitStack()

    def close(self) -> None:
        """Free the GPUs that this process has locked."""
        self._locks.close()

    def confine(self, spec: ReplicaSpec, others: Mapping[ReplicaId, Limits]) -> Limits:
        """Choose how a replica is held to its limits, and its GPUs.

        Args:
            spec: The replica.
            others: How each existing replica is held to its limits; not at all if it has ended.

        Raises:
            GpuUnavailable: If too few GPUs are free.
        """
        self._sweep(others)
        groups = self._groups()
        limits, asks_gpu = spec.spec.limits, _demand(spec).count > 0
        chosen = Limits()
        if limits.memory:
            version = groups.version(MEMORY)
            by = _memory_means(version, asks_gpu=asks_gpu)
            chosen = replace(chosen, memory=limits.memory, memory_by=by)
        if limits.cpu:
            version = groups.version(CPU)
            cores = () if version else _cores(math.ceil(limits.cpu), others.values())
            by = f"cgroup v{version}" if version else AFFINITY if cores else NOTHING
            chosen = replace(chosen, cpu=limits.cpu, cpu_by=by, cores=cores)
        return self._with_gpus(chosen, spec, others.values()) if asks_gpu else chosen

    def settings(
        self, settings: WatcherSettings, replica: ReplicaId, confinement: Limits
    ) -> WatcherSettings:
        """Create the replica's group, and add the watcher's part of the limits to its settings.

        Raises:
            ConfinementFailed: If the group cannot be created.
        """
        memory, cpu = (
            confinement.memory if confinement.memory_by.startswith("cgroup") else 0,
            confinement.cpu if confinement.cpu_by.startswith("cgroup") else 0.0,
        )
        try:
            folders = self._groups().make(self._prefix + replica, memory=memory, cpu=cpu)
        except OSError as error:
            self.release(replica)
            raise ConfinementFailed(f"the control group cannot be created: {error}") from error
        locked = () if self._keeps_gpus else confinement.gpus
        return replace(
            settings,
            memory_limit=confinement.memory if confinement.memory_by == RLIMIT else 0,
            cgroups="\n".join(map(str, folders)),
            cpus=",".join(map(str, confinement.cores)),
            gpu_locks="\n".join(str(lock_file(self._guards, gpu)) for gpu in locked),
        )

    def variables(self, spec: ReplicaSpec, confinement: Limits) -> dict[str, str]:
        """Return variables that show a replica only its own GPUs."""
        if confinement.gpus or _demand(spec).hidden:
            return visible_devices(confinement.gpus)
        return {}

    def why(self, replica: ReplicaId, confinement: Limits, ended: ExitRecord) -> str:
        """Return how a replica's limits explain its end; "" if they do not."""
        limit = f"{size(confinement.memory)} ({confinement.memory_by})"
        if confinement.memory_by.startswith("cgroup"):
            # With version 1, only a child process may have been killed, and the replica continued.
            killed = ended.code == -signal.SIGKILL
            if killed and self._groups().oom_kills(self._prefix + replica):
                return f"it exceeded its memory limit of {limit}"
            return ""
        if confinement.memory_by == RLIMIT and ended.code in CRASHES:
            return f"its memory is limited to {limit}, which may be the cause"
        return ""

    def release(self, replica: ReplicaId) -> None:
        """Kill the processes in a replica's group, and remove the group."""
        until = time.monotonic() + PATIENCE
        while not self._groups().remove(self._prefix + replica):
            if time.monotonic() > until:
                logger.warning("the control group of %s cannot be removed", replica)
                return
            time.sleep(0.01)

    def _groups(self) -> Cgroups:
        with self._finding:
            if self._cgroups is None:
                self._cgroups = Cgroups.find()
            return self._cgroups

    def _sweep(self, known: Collection[ReplicaId]) -> None:
        """Remove, once, the groups that a previous engine left behind."""
        if not self._swept:
            self._groups().sweep(self._prefix, {self._prefix + replica for replica in known})
            self._swept = True

    def _with_gpus(self, chosen: Limits, spec: ReplicaSpec, others: Collection[Limits]) -> Limits:
        demand = _demand(spec)
        if self._keeps_gpus:
            gpus = self._keep(demand)
        else:
            taken = frozenset(gpu for other in others for gpu in other.gpus)
            with self._reserve(demand.count, required=demand.required, taken=taken) as free:
                gpus = tuple(gpu.uuid for gpu in free)
        return replace(chosen, gpus=gpus, on_cpu=not gpus)

    def _keep(self, demand: Demand) -> tuple[str, ...]:
        """Return as many GPUs as a replica asks for; lock those that are missing."""
        missing = demand.count - len(self._kept)
        if missing > 0:
            reserved = self._reserve(missing, required=demand.required, taken=self._kept)
            self._kept += tuple(gpu.uuid for gpu in self._locks.enter_context(reserved))
        return self._kept[: demand.count]

    def _reserve(
        self, count: int, *, required: bool, taken: Collection[str]
    ) -> AbstractContextManager[tuple[Gpu, ...]]:
        inventory = restrict(self._gpus.look(), self._base)
        return reserve(count, inventory, self._guards, required=required, taken=taken)


def _demand(spec: ReplicaSpec) -> Demand:
    return Demand.of(spec.spec.limits, spec.spec.requests)


def group_prefix(owner: Path) -> str:
    """Return the prefix of the names of one supervisor's control groups.

    Args:
        owner: As for :class:`LimitEnforcer`.
    """
    return f"dcf-{hashlib.sha256(os.fsencode(owner)).hexdigest()[:8]}-"


def _memory_means(version: int, *, asks_gpu: bool) -> str:
    if version:
        return f"cgroup v{version}"
    if sys.platform != "linux":
        return NOTHING
    # CUDA maps far more memory than it uses, so it cannot start under a limit of mapped memory.
    return WATCHED if asks_gpu else RLIMIT


def _cores(count: int, others: Collection[Limits]) -> tuple[int, ...]:
    """Return the cores that the fewest other replicas use, at most ``count``."""
    if sys.platform != "linux":
        return ()
    used = Counter(core for other in others for core in other.cores)
    free: Sequence[int] = sorted(os.sched_getaffinity(0), key=lambda core: (used[core], core))
    return tuple(sorted(free[:count]))
