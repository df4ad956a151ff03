"""What a gateway tells Prometheus, in its text format (version 0.0.4).

Written by hand: the names and labels here need no escaping, and the official client takes 0.2 s for
a thousand functions, on the loop that everything else waits for.
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
    """One deployed function.

    Attributes:
        invocations: Calls since it was first deployed.
        wanted: Replicas that it is to have.
        replicas: How many replicas are in each state; a state that is missing has none.
        traffic: Its calls, counted since the data plane started.
    """

    invocations: int
    wanted: int
    replicas: Mapping[ReplicaState, int] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, slots=True)
class Metrics:
    """A gateway at one moment.

    Attributes:
        functions: Each deployed function by its name.
        version: Of DCF.
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
        """The figures of the functions that are deployed.

        Args:
            functions: Those.
            traffic: The calls of each function that was ever called, deployed or not.
            replicas: Each function's replicas.
        """
        return cls(
            {
                one.name: FunctionMetrics(
                    one.invocations,
                    one.replicas,
                    Counter(seen.state for seen in replicas.get(one.name, ())),
                    traffic.get(one.name, Traffic()),
                )
                for one in functions
            }
        )


def render(metrics: Metrics) -> bytes:
    """``metrics`` as Prometheus reads them."""
    lines = [
        *_head("dcf_gateway_info", "gauge", "The gateway, with its version."),
        f'dcf_gateway_info{{version="{metrics.version}"}} 1',
    ]
    for name, kind, told, samples in _FAMILIES:
        lines += _head(name, kind, told)
        for function, one in metrics.functions.items():
            lines += samples(name, f'{{function="{function}"', one)
    lines.append("")
    return "\n".join(lines).encode()


def _head(name: str, kind: str, told: str) -> Iterable[str]:
    return f"# HELP {name} {told}", f"# TYPE {name} {kind}"


Samples = Callable[[str, str, FunctionMetrics], Iterable[str]]
"""From a family's name, the beginning of its labels and a function to lines."""


def _single(value: Callable[[FunctionMetrics], int]) -> Samples:
    return lambda name, labels, one: (f"{name}{labels}}} {value(one)}",)


def _errors(name: str, labels: str, one: FunctionMetrics) -> Iterable[str]:
    counted = one.traffic
    return (
        f'{name}{labels},kind="client"}} {counted.client_errors}',
        f'{name}{labels},kind="server"}} {counted.server_errors}',
        f'{name}{labels},kind="unreachable"}} {counted.unreachable}',
        f'{name}{labels},kind="broken"}} {counted.broken}',
        f'{name}{labels},kind="no_replica"}} {counted.no_replica}',
        f'{name}{labels},kind="overflow"}} {counted.overflowed}',
    )


def _replicas(name: str, labels: str, one: FunctionMetrics) -> Iterable[str]:
    return (f'{name}{labels},state="{state}"}} {one.replicas.get(state, 0)}' for state in _STATES)


def _durations(name: str, labels: str, one: FunctionMetrics) -> Iterator[str]:
    latency: Latency = one.traffic.latency
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
        "Calls that were sent to a replica.",
        _single(lambda one: one.invocations),
    ),
    ("dcf_function_errors_total", "counter", "Calls that went wrong, by what went wrong.", _errors),
    (
        "dcf_function_duration_seconds",
        "histogram",
        "Time from a call's arrival to the end of its reply.",
        _durations,
    ),
    (
        "dcf_function_in_flight",
        "gauge",
        "Calls under way.",
        _single(lambda one: one.traffic.in_flight),
    ),
    (
        "dcf_function_queue",
        "gauge",
        "Calls that wait for a connection to a replica.",
        _single(lambda one: one.traffic.waiting),
    ),
    ("dcf_function_replicas", "gauge", "Replicas by state.", _replicas),
    (
        "dcf_function_replicas_wanted",
        "gauge",
        "Replicas that are wanted.",
        _single(lambda one: one.wanted),
    ),
)
