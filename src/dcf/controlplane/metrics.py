"""The gateway's metrics, in Prometheus' text format (version 0.0.4).

The format is written by hand: these names and labels need no escaping, and the official client
would block the event loop for 0.2 s with a thousand functions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dcf.controlplane.replicas.replica_registry import ReplicaRecord
from dcf.model.replica import ReplicaState
from dcf.model.status import FunctionStatus
from dcf.model.traffic import Latency, Traffic
from dcf.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_STATES = tuple(state for state in ReplicaState if state is not ReplicaState.EXITED)


@dataclass(frozen=True, slots=True)
class FunctionMetrics:
    """The metrics of a deployed function.

    Attributes:
        invocations: Calls since it was first deployed.
        wanted: Desired number of replicas.
        replicas: Number of replicas in each state; a missing state means 0.
        traffic: Its calls since the data plane started.
    """

    invocations: int
    wanted: int
    replicas: Mapping[ReplicaState, int] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of a gateway at one moment.

    Attributes:
        functions: The deployed functions, by name.
        version: Version of DCF.
    """

    functions: Mapping[str, FunctionMetrics] = field(default_factory=dict)
    version: str = __version__

    @classmethod
    def of(
        cls,
        functions: Iterable[FunctionStatus],
        traffic: Mapping[str, Traffic],
        replicas: Mapping[str, Iterable[ReplicaRecord]],
    ) -> Metrics:
        """Collect the metrics of the deployed functions.

        Args:
            functions: The deployed functions.
            traffic: The calls of all functions, by name; deleted functions may be included.
            replicas: The replicas of each function.
        """
        return cls(
            {
                status.name: FunctionMetrics(
                    status.invocations,
                    status.replicas,
                    Counter(replica.state for replica in replicas.get(status.name, ())),
                    traffic.get(status.name, Traffic()),
                )
                for status in functions
            }
        )


def render(metrics: Metrics) -> bytes:
    """Return the metrics in Prometheus' text format."""
    lines = [
        *_head("dcf_gateway_info", "gauge", "The gateway, with its version."),
        f'dcf_gateway_info{{version="{metrics.version}"}} 1',
    ]
    for name, kind, help_, samples in _FAMILIES:
        lines += _head(name, kind, help_)
        for function, own in metrics.functions.items():
            lines += samples(name, f'{{function="{function}"', own)
    lines.append("")
    return "\n".join(lines).encode()


def _head(name: str, kind: str, help_: str) -> Iterable[str]:
    return f"# HELP {name} {help_}", f"# TYPE {name} {kind}"


Samples = Callable[[str, str, FunctionMetrics], Iterable[str]]
"""Makes the lines of a family from its name, the beginning of its labels and a function."""


def _single(value: Callable[[FunctionMetrics], int]) -> Samples:
    return lambda name, labels, own: (f"{name}{labels}}} {value(own)}",)


def _errors(name: str, labels: str, own: FunctionMetrics) -> Iterable[str]:
    counted = own.traffic
    return (
        f'{name}{labels},kind="client"}} {counted.client_errors}',
        f'{name}{labels},kind="server"}} {counted.server_errors}',
        f'{name}{labels},kind="unreachable"}} {counted.unreachable}',
        f'{name}{labels},kind="broken"}} {counted.broken}',
        f'{name}{labels},kind="no_replica"}} {counted.no_replica}',
        f'{name}{labels},kind="overflow"}} {counted.overflowed}',
    )


def _replicas(name: str, labels: str, own: FunctionMetrics) -> Iterable[str]:
    return (f'{name}{labels},state="{state}"}} {own.replicas.get(state, 0)}' for state in _STATES)


def _durations(name: str, labels: str, own: FunctionMetrics) -> Iterator[str]:
    latency: Latency = own.traffic.latency
    for bound, count in latency.buckets.items():
        if bound < math.inf:
            yield f'{name}_bucket{labels},le="{bound!r}"}} {count}'
    yield f'{name}_bucket{labels},le="+Inf"}} {latency.count}'
    yield f"{name}_sum{labels}}} {latency.total!r}"
    yield f"{name}_count{labels}}} {latency.count}"


_FAMILIES: tuple[tuple[str, str, str, Samples], ...] = (
    (
        "dcf_function_invocations_total",
        "counter",
        "Calls sent to a replica.",
        _single(lambda own: own.invocations),
    ),
    ("dcf_function_errors_total", "counter", "Failed calls, by kind of error.", _errors),
    (
        "dcf_function_duration_seconds",
        "histogram",
        "Time from a call's arrival to the end of its reply.",
        _durations,
    ),
    (
        "dcf_function_in_flight",
        "gauge",
        "Calls in progress.",
        _single(lambda own: own.traffic.in_flight),
    ),
    (
        "dcf_function_queue",
        "gauge",
        "Calls waiting for a connection to a replica.",
        _single(lambda own: own.traffic.waiting),
    ),
    ("dcf_function_replicas", "gauge", "Replicas by state.", _replicas),
    (
        "dcf_function_replicas_wanted",
        "gauge",
        "Desired number of replicas.",
        _single(lambda own: own.wanted),
    ),
)
