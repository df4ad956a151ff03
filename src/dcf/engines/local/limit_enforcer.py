"""Decides what holds replicas to their limits on this machine, and sees to it."""

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
from dataclasses import replace
from pathlib import Path

from dcf.engines.base import ReplicaSpec
from dcf.engines.local.cgroups import CPU, MEMORY, Cgroups
from dcf.engines.local.gpu import Demand, GpuSource, lock_file, reserve, restrict, visible_devices
from dcf.engines.local.limits import (
    AFFINITY,
    NOTHING,
    RLIMIT,
    WATCHED,
    Limits,
    size,
)
from dcf.errors import ConfinementFailed
from dcf.model.replica import ReplicaId
from dcf.settings import Locations, WatcherSettings
from dcf.supervision.process_messages import ExitRecord

logger = logging.getLogger("dcf.engines")

PATIENCE = 2.0
"""Seconds that killed processes of a group may take to be gone."""

CRASHES = frozenset({-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS})
"""How a program in C ends that was refused memory and did not expect it."""


class LimitEnforcer:
    """Groups, cores and GPUs for the replicas of one supervisor.

    It may block for a moment, so it is to be asked in a thread.
    """

    def __init__(
        self,
        owner: Path,
        base: Mapping[str, str],
        gpus: GpuSource,
        cgroups: Cgroups | None = None,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            owner: Tells the groups of one supervisor from those of another: its socket.
            base: This process's environment.
            gpus: Where the machine's GPUs are looked up.
            cgroups: Where groups can be made; None tries it out.
        """
        self._prefix = group_prefix(owner)
        self._base = base
        self._gpus = gpus
        self._guards = Locations.from_mapping(base).gpu_locks
        self._cgroups = cgroups
        self._finding = threading.Lock()
        self._swept = False

    def confine(self, spec: ReplicaSpec, others: Mapping[ReplicaId, Limits]) -> Limits:
        """Chooses what is to hold a replica to its limits; its GPUs are free until it has started.

        Args:
            spec: The replica.
            others: What holds the replicas that are there; nothing holds one that has ended.

        Raises:
            GpuUnavailable: When too few GPUs are free for it.
        """
        self._sweep(others)
        groups = self._groups()
        limits, asks_gpu = spec.limits, Demand.of(spec.limits, spec.requests).count > 0
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
        """Makes the replica's group, and tells its watcher what to do.

        Raises:
            ConfinementFailed: When the group cannot be made.
        """
        memory, cpu = (
            confinement.memory if confinement.memory_by.startswith("cgroup") else 0,
            confinement.cpu if confinement.cpu_by.startswith("cgroup") else 0.0,
        )
        try:
            folders = self._groups().make(self._prefix + replica, memory=memory, cpu=cpu)
        except OSError as error:
            self.release(replica)
            raise ConfinementFailed(f"no control group can be made: {error}") from error
        return replace(
            settings,
            memory_limit=confinement.memory if confinement.memory_by == RLIMIT else 0,
            cgroups="\n".join(map(str, folders)),
            cpus=",".join(map(str, confinement.cores)),
            gpu_locks="\n".join(str(lock_file(self._guards, gpu)) for gpu in confinement.gpus),
        )

    def variables(self, spec: ReplicaSpec, confinement: Limits) -> dict[str, str]:
        """Variables of the framework's own that show a replica no more GPUs than are its."""
        if confinement.gpus or Demand.of(spec.limits, spec.requests).hidden:
            return visible_devices(confinement.gpus)
        return {}

    def why(self, replica: ReplicaId, confinement: Limits, ended: ExitRecord) -> str:
        """What its limits have to do with the end of a replica; "" for nothing that is known."""
        limit = f"{size(confinement.memory)} ({confinement.memory_by})"
        if confinement.memory_by.startswith("cgroup"):
            # Version 1 may have killed a child process before, and the replica went on.
            killed = ended.code == -signal.SIGKILL
            if killed and self._groups().oom_kills(self._prefix + replica):
                return f"it went over its memory limit of {limit}"
            return ""
        if confinement.memory_by == RLIMIT and ended.code in CRASHES:
            return f"its memory is limited to {limit}, which may be the cause"
        return ""

    def release(self, replica: ReplicaId) -> None:
        """Ends all that is left in a replica's group, and removes it."""
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
        """Removes, once, what an engine before this one had no time for."""
        if not self._swept:
            self._groups().sweep(self._prefix, {self._prefix + replica for replica in known})
            self._swept = True

    def _with_gpus(self, chosen: Limits, spec: ReplicaSpec, others: Collection[Limits]) -> Limits:
        demand = Demand.of(spec.limits, spec.requests)
        inventory = restrict(self._gpus.look(), self._base)
        taken = frozenset(gpu for other in others for gpu in other.gpus)
        with reserve(
            demand.count, inventory, self._guards, required=demand.required, taken=taken
        ) as gpus:
            found = tuple(gpu.uuid for gpu in gpus)
        return replace(chosen, gpus=found, on_cpu=not found)


def group_prefix(owner: Path) -> str:
    """What the names of one supervisor's control groups begin with.

    Args:
        owner: Its socket.
    """
    return f"dcf-{hashlib.sha256(os.fsencode(owner)).hexdigest()[:8]}-"


def _memory_means(version: int, *, asks_gpu: bool) -> str:
    if version:
        return f"cgroup v{version}"
    if sys.platform != "linux":
        return NOTHING
    # CUDA maps far more than it uses, so a limit of what is mapped would keep it from starting.
    return WATCHED if asks_gpu else RLIMIT


def _cores(count: int, others: Collection[Limits]) -> tuple[int, ...]:
    """The cores on which the fewest others run, at most ``count``."""
    if sys.platform != "linux":
        return ()
    used = Counter(core for other in others for core in other.cores)
    free: Sequence[int] = sorted(os.sched_getaffinity(0), key=lambda core: (used[core], core))
    return tuple(sorted(free[:count]))
