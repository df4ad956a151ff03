"""The GPUs of this machine, and which of them are free."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pynvml

from dcf.errors import GpuUnavailable
from dcf.files.atomic import open_private
from dcf.model.function import Resources


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device.

    Attributes:
        index: NVML's number.
        uuid: The device's name, which CUDA_VISIBLE_DEVICES accepts.
        name: The model.
        memory: Total bytes.
        memory_used: Bytes in use.
        busy: Whether a process uses it for computation.
    """

    index: int
    uuid: str
    name: str
    memory: int
    memory_used: int = 0
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """The GPUs of a machine at one moment.

    Attributes:
        gpus: The devices.
        driver: The driver's version; "" without one.
    """

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""


class GpuSource(Protocol):
    """Lists the GPUs of a machine."""

    def look(self) -> Inventory:
        """Return the machine's GPUs."""


class Nvml:
    """Lists GPUs with NVIDIA's management library (nvidia-ml-py)."""

    def look(self) -> Inventory:
        """Return the machine's GPUs; none without a driver."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return Inventory()
        try:
            gpus = tuple(_read(index) for index in range(pynvml.nvmlDeviceGetCount()))
            return Inventory(gpus, _text(pynvml.nvmlSystemGetDriverVersion()))
        except pynvml.NVMLError:
            return Inventory()
        finally:
            pynvml.nvmlShutdown()


def _read(index: int) -> Gpu:
    device = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    try:
        busy = bool(pynvml.nvmlDeviceGetComputeRunningProcesses(device))
    except pynvml.NVMLError:
        # Some devices and containers do not report it.
        busy = False
    return Gpu(
        index=index,
        uuid=_text(pynvml.nvmlDeviceGetUUID(device)),
        name=_text(pynvml.nvmlDeviceGetName(device)),
        memory=memory.total,
        memory_used=memory.used,
        busy=busy,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@dataclass(frozen=True, slots=True)
class Demand:
    """The GPUs that a function asks for.

    Attributes:
        count: Number of devices reserved for it.
        required: Whether it needs them to start.
        hidden: Whether all devices are hidden from it.
    """

    count: int
    required: bool
    hidden: bool

    @classmethod
    def of(cls, limits: Resources, requests: Resources) -> Demand:
        """Combine ``limits.gpu`` and ``requests.gpu``."""
        needed = requests.gpu or 0
        count = max(limits.gpu or 0, needed)
        return cls(count, needed > 0, hidden=limits.gpu == 0 and count == 0)


@contextlib.contextmanager
def reserve(
    wanted: int,
    inventory: Inventory,
    guards: Path,
    *,
    required: bool = False,
    taken: Collection[str] = (),
) -> Iterator[tuple[Gpu, ...]]:
    """Reserve whole devices for as long as the context is open.

    A device is free if no process computes on it and no other replica of this user has reserved
    it. The reservation is a lock on a file, so it ends with the process that holds it.

    Args:
        wanted: Number of devices.
        inventory: The machine's devices.
        guards: Folder for the lock files.
        required: Whether a machine without any GPU is an error too.
        taken: UUIDs of devices that are already assigned.

    Yields:
        The devices, lowest index first; none on a machine without any.

    Raises:
        GpuUnavailable: If the machine has GPUs and too few are free, or has none and ``required``.
    """
    present = len(inventory.gpus)
    if present == 0 and not required:
        yield ()
        return
    guards.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.ExitStack() as held:
        reserved: list[Gpu] = []
        for gpu in inventory.gpus:
            free = not gpu.busy and gpu.uuid not in taken
            if len(reserved) < wanted and free and _lock(lock_file(guards, gpu.uuid), held):
                reserved.append(gpu)
        if len(reserved) < wanted:
            raise GpuUnavailable(wanted, len(reserved), present)
        yield tuple(reserved)


def lock_file(guards: Path, uuid: str) -> Path:
    """Return the file that is locked while a device is reserved."""
    return guards / f"{uuid}.lock"


def _lock(path: Path, held: contextlib.ExitStack) -> bool:
    descriptor = open_private(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    held.callback(os.close, descriptor)
    return True


def restrict(inventory: Inventory, env: Mapping[str, str]) -> Inventory:
    """Return the devices that CUDA_VISIBLE_DEVICES in ``env`` allows; all if it is not set."""
    allowed = env.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return inventory
    names = {name.strip() for name in allowed.split(",")}
    gpus = tuple(gpu for gpu in inventory.gpus if names & {str(gpu.index), gpu.uuid})
    return Inventory(gpus, inventory.driver)


def visible_devices(gpus: Sequence[str]) -> dict[str, str]:
    """Return the variables that show a process only the devices with these UUIDs."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}


def describe(inventory: Inventory) -> tuple[str, ...]:
    """Return lines for people about the GPUs of a machine."""
    if not inventory.gpus:
        return ("no NVIDIA GPU",)
    devices = (
        f"{gpu.index}: {gpu.name}, {gpu.memory_used >> 20} of {gpu.memory >> 20} MiB used"
        for gpu in inventory.gpus
    )
    return (f"driver {inventory.driver}", *devices)
