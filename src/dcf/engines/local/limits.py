"""How a replica is held to its limits; a value that is stored with the replica's process."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields

from dcf.protocol.json_text import read_json

MEMORY_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that set the number of threads of numerical libraries. By default they start a thread
for each core of the machine, and the threads compete for the few cores of the replica."""

RLIMIT = "RLIMIT_DATA"
WATCHED = "watched"
AFFINITY = "affinity"
NOTHING = "not held on this system"


@dataclass(frozen=True, slots=True)
class Limits:
    """How a replica is held to its limits.

    Attributes:
        memory: Bytes; 0 for no limit.
        memory_by: What enforces it: "cgroup v1", "cgroup v2", or a constant of this module.
        cpu: Cores; 0 for no limit.
        cpu_by: What enforces it, as for memory.
        cores: Numbers of the cores that it runs on; empty means all.
        gpus: UUIDs of the devices that are reserved for it.
        on_cpu: Whether it asked for optional GPUs and the machine has none.
    """

    memory: int = 0
    memory_by: str = ""
    cpu: float = 0.0
    cpu_by: str = ""
    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    on_cpu: bool = False

    def describe(self) -> tuple[str, ...]:
        """Return each limit with what enforces it, for people."""
        texts = []
        if self.memory:
            texts.append(f"memory: {size(self.memory)} ({self.memory_by})")
        if self.cpu:
            cores = f"{len(self.cores)} core{'s' if len(self.cores) > 1 else ''}"
            amount = cores if self.cores else f"{self.cpu:g}"
            texts.append(f"cpu: {amount} ({self.cpu_by})")
        if self.gpus:
            texts.append(f"gpu: {', '.join(self.gpus)}")
        if self.on_cpu:
            texts.append("gpu: none on this machine, runs on the CPU")
        return tuple(texts)

    def thread_variables(self) -> dict[str, str]:
        """Return variables that set the number of threads of numerical libraries."""
        return dict.fromkeys(THREAD_VARIABLES, str(math.ceil(self.cpu))) if self.cpu else {}

    def to_note(self) -> str:
        """Return a text that :meth:`from_note` reads back to an equal value."""
        return json.dumps(asdict(self))

    @classmethod
    def from_note(cls, note: str) -> Limits:
        """Read what :meth:`to_note` wrote; an empty note means no limits.

        Another version may have written the note. Unknown members are ignored.
        """
        members = read_json(note) if note else {}
        known = {field.name: members[field.name] for field in fields(cls) if field.name in members}
        lists = {name: tuple(known.get(name, ())) for name in ("cores", "gpus")}
        return cls(**known | lists)


def size(amount: int) -> str:
    """Return bytes for people, such as 1.5 GiB."""
    for unit, factor in MEMORY_UNITS:
        if amount >= factor:
            return f"{round(amount / factor, 1):g} {unit}"
    return f"{amount} bytes"
