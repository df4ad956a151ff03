"""Metrics in Prometheus' text format."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from dcf.controlplane.metrics import Metrics, render
from dcf.controlplane.replicas.replica_registry import ReplicaRecord
from dcf.model.observed import ReplicaKey
from dcf.model.replica import ReplicaId, ReplicaState
from dcf.model.traffic import Latency, Traffic
from dcf.version import __version__
from unit.controlplane.http_kit import status

TRAFFIC = Traffic(
    calls=9,
    in_flight=2,
    waiting=3,
    client_errors=1,
    server_errors=2,
    unreachable=3,
    broken=4,
    no_replica=5,
    overflowed=6,
    latency=Latency({0.001: 1, 0.5: 7, math.inf: 9}, 1.25),
)


def seen(number: int, state: ReplicaState) -> ReplicaRecord:
    key = ReplicaKey("hello", 1, number, 1)
    return ReplicaRecord(key, ReplicaId(key.id), state, 0.0)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(render(metrics).decode())
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


def test_each_metric_has_its_name_and_value() -> None:
    replicas = [
        seen(0, ReplicaState.READY),
        seen(1, ReplicaState.READY),
        seen(2, ReplicaState.STARTING),
    ]
    found = samples(Metrics.of([status("hello", 3)], {"hello": TRAFFIC}, {"hello": replicas}))
    hello = ("function", "hello")

    def of(name: str, *labels: tuple[str, str]) -> float:
        return found[f"dcf_function_{name}", tuple(sorted((hello, *labels)))]

    assert found["dcf_gateway_info", (("version", __version__),)] == 1
    assert (of("invocations_total"), of("in_flight"), of("queue")) == (7, 2, 3)
    assert of("replicas_wanted") == 3
    assert [of("replicas", ("state", one)) for one in ("starting", "ready", "draining")] == [
        1,
        2,
        0,
    ]
    assert of("errors_total", ("kind", "client")) == 1
    assert of("errors_total", ("kind", "server")) == 2
    assert of("errors_total", ("kind", "unreachable")) == 3
    assert of("errors_total", ("kind", "broken")) == 4
    assert of("errors_total", ("kind", "no_replica")) == 5
    assert of("errors_total", ("kind", "overflow")) == 6
    assert of("duration_seconds_bucket", ("le", "0.001")) == 1
    assert of("duration_seconds_bucket", ("le", "+Inf")) == 9
    assert (of("duration_seconds_sum"), of("duration_seconds_count")) == (1.25, 9)


def test_the_metrics_of_a_function_without_calls_are_zero() -> None:
    found = samples(Metrics.of([status("new")], {}, {}))

    assert found["dcf_function_errors_total", (("function", "new"), ("kind", "server"))] == 0
    assert found["dcf_function_duration_seconds_count", (("function", "new"),)] == 0


def test_a_deleted_function_has_no_metrics() -> None:
    text = render(Metrics.of([], {"hello": TRAFFIC}, {}))

    assert b"hello" not in text
    assert text.endswith(b"\n")


def test_every_family_has_one_type_and_one_help() -> None:
    families = list(
        text_string_to_metric_families(
            render(Metrics.of([status("a"), status("b")], {}, {})).decode()
        )
    )

    assert {family.name: family.type for family in families} == {
        "dcf_gateway_info": "gauge",
        "dcf_function_invocations": "counter",
        "dcf_function_errors": "counter",
        "dcf_function_duration_seconds": "histogram",
        "dcf_function_in_flight": "gauge",
        "dcf_function_queue": "gauge",
        "dcf_function_replicas": "gauge",
        "dcf_function_replicas_wanted": "gauge",
    }
    assert all(family.documentation for family in families)
