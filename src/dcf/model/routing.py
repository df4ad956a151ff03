"""Destinations and limits of a function's calls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Destination:
    """One replica that accepts calls.

    Attributes:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``, as a watcher reports it.
        revision: Number of its revision; 0 if unknown.
        share: Percentage of the calls that go to all replicas of its revision together; 0 if calls
            are not split by revision.
    """

    endpoint: str
    revision: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Limits that the data plane applies to the calls of one function.

    Attributes:
        connect_timeout: Maximum seconds to connect to a replica. 1: replicas are on this machine or
            near it, and a failed connection is retried with another replica.
        max_body: Maximum bytes of a request's body. Larger ones get a 413 before the replica has
            received all of it. 1 GiB, the watcher's own limit.
        calls: Maximum concurrent calls, streams included, of all replicas. 4096: four replicas of
            an async handler with 1,000 each. Each replica also enforces its own limit.
        queue: Maximum calls beyond that which wait for another call to end, at least 1. 1024: a
            burst of calls that all need a new connection.
    """

    connect_timeout: float = 1.0
    max_body: int = 1024**3
    calls: int = 4096
    queue: int = 1024
