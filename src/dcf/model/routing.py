"""Where a function's calls go, and how many may go there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Destination:
    """One replica that takes calls.

    Attributes:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``, as a watcher reports it.
        revision: Number of the revision that it runs; 0 when that is not known.
        share: Percent of the calls that go to all replicas of its revision together; 0 where calls
            are not divided by revisions.
    """

    endpoint: str
    revision: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What the data plane allows the calls of one function.

    Attributes:
        connect_timeout: Seconds to connect to a replica. 1: it is on this machine or near it, and
            a refused connection is tried elsewhere.
        max_body: Bytes of a request's body; more is answered with 413 before the replica has it
            all. 1 GiB, the watcher's own limit.
        calls: Calls under way at a time, streams included, over all replicas. 4096: four replicas
            of an async handler with 1,000 each; what a replica takes it says itself.
        queue: Calls beyond that which may wait until another one ends, at least 1. 1024: a burst
            of calls that all need a new connection.
    """

    connect_timeout: float = 1.0
    max_body: int = 1024**3
    calls: int = 4096
    queue: int = 1024
