"""Counters of the data plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Latency:
    """A histogram of the time from a call's arrival to the end of its reply.

    Attributes:
        buckets: Maps each upper bound in seconds to the cumulative number of calls that took no
            longer. The last bound is infinite.
        total: Total seconds of all calls, as precise as the buckets allow.
    """

    buckets: Mapping[float, int] = field(default_factory=dict)
    total: float = 0.0

    @property
    def count(self) -> int:
        """Number of calls."""
        return max(self.buckets.values(), default=0)


@dataclass(frozen=True, slots=True)
class Traffic:
    """One function's calls since the data plane started.

    Attributes:
        calls: Calls that were sent to a replica; a retried call counts once.
        attempts: How often calls were sent to a replica. Only this number never decreases while
            Envoy runs: ``calls`` may drop for a moment while a call is being retried.
        in_flight: Calls in progress now.
        waiting: Calls that wait for a connection to a replica now.
        succeeded: Replies with a status below 400.
        client_errors: Replies with a status from 400 to 499.
        server_errors: Replies with a status of 500 or more.
        unreachable: Failed attempts to connect to a replica.
        broken: Calls whose replica closed the connection early.
        no_replica: Calls that found no ready replica.
        overflowed: Calls over the function's limits.
        retried: Retries.
        latency: Durations of the calls.
    """

    calls: int = 0
    attempts: int = 0
    in_flight: int = 0
    waiting: int = 0
    succeeded: int = 0
    client_errors: int = 0
    server_errors: int = 0
    unreachable: int = 0
    broken: int = 0
    no_replica: int = 0
    overflowed: int = 0
    retried: int = 0
    latency: Latency = field(default_factory=Latency)
