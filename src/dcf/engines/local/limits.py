"""What holds one replica to its limits: a value that is kept with the replica's process."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields

from dcf.protocol.json_text import read_json

MEMORY_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""How numerical libraries are told their number of threads. They count the machine's cores
otherwise, and get in each other's way on the few that are theirs."""

RLIMIT = "RLIMIT_DATA"
WATCHED = "watched"
AFFINITY = "affinity"
NOTHING = "not held on this system"


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds one replica to its limits.

    Attributes:
        memory: Bytes; 0 is no limit.
        memory_by: What holds it to that: "cgroup v1" or "cgroup v2", or a word of this module.
        cpu: Cores; 0 is no limit.
        cpu_by: Likewise.
        cores: Numbers of the cores that it runs on; empty means all.
        gpus: UUIDs of the devices that it has to itself.
        on_cpu: Whether it asked for GPUs that it can do without, and there are none.
    """

    memory: int = 0
    memory_by: str = ""
    cpu: float = 0.0
    cpu_by: str = ""
    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    on_cpu: bool = False

    def describe(self) -> tuple[str, ...]:
        """For people: each limit and what holds it."""
        found = []
        if self.memory:
            found.append(f"memory: {size(self.memory)} ({self.memory_by})")
        if self.cpu:
            cores = f"{len(self.cores)} core{'s' if len(self.cores) > 1 else ''}"
            amount = cores if self.cores else f"{self.cpu:g}"
            found.append(f"cpu: {amount} ({self.cpu_by})")
        if self.gpus:
            found.append(f"gpu: {', '.join(self.gpus)}")
        if self.on_cpu:
            found.append("gpu: none on this machine, runs on the CPU")
        return tuple(found)

    def thread_variables(self) -> dict[str, str]:
        """Variables that tell numerical libraries how many threads are of use."""
        return dict.fromkeys(THREAD_VARIABLES, str(math.ceil(self.cpu))) if self.cpu else {}

    def to_note(self) -> str:
        """What :meth:`from_note` reads back to an equal value."""
        return json.dumps(asdict(self))

    @classmethod
    def from_note(cls, note: str) -> Limits:
        """Reads what :meth:`to_note` wrote; a process without a note is held to nothing.

        The note may be another version's: what is not known is passed over.
        """
        members = read_json(note) if note else {}
        known = {field.name: members[field.name] for field in fields(cls) if field.name in members}
        lists = {name: tuple(known.get(name, ())) for name in ("cores", "gpus")}
        return cls(**known | lists)


def size(amount: int) -> str:
    """Bytes for people: 1.5 GiB."""
    for unit, factor in MEMORY_UNITS:
        if amount >= factor:
            return f"{round(amount / factor, 1):g} {unit}"
    return f"{amount} bytes"
