"""Reading Envoy's statistics."""

import json
import math

import pytest

from dcf.dataplane.statistics import parse
from dcf.errors import EnvoyFailed


def answer(*numbers: tuple[str, int], histograms=()) -> bytes:
    stats: list[dict] = [{"name": name, "value": value} for name, value in numbers]
    if histograms:
        stats.append({"histograms": histograms})
    return json.dumps({"stats": stats}).encode()


def test_counters():
    traffic = parse(
        answer(
            ("cluster.echo.upstream_rq_total", 12),
            ("cluster.echo.upstream_rq_retry", 2),
            ("cluster.echo.upstream_rq_active", 1),
            ("cluster.echo.upstream_rq_2xx", 5),
            ("cluster.echo.upstream_rq_3xx", 1),
            ("cluster.echo.upstream_rq_4xx", 2),
            ("cluster.echo.upstream_rq_5xx", 3),
            ("cluster.echo.external.upstream_rq_5xx", 3),
            ("cluster.echo.upstream_cx_connect_fail", 4),
            ("cluster.idle.upstream_cx_none_healthy", 6),
        )
    )
    echo = traffic["echo"]
    assert (echo.calls, echo.retried, echo.in_flight) == (10, 2, 1)
    assert (echo.succeeded, echo.client_errors, echo.server_errors) == (6, 2, 3)
    assert (echo.unreachable, traffic["idle"].no_replica) == (4, 6)
    assert echo.latency.count == 0


def test_latencies_in_seconds():
    buckets = [
        {"upper_bound": 1, "interval": 0, "cumulative": 2},
        {"upper_bound": 10, "interval": 0, "cumulative": 3},
    ]
    histograms = [
        {"name": "cluster.echo.upstream_rq_time", "buckets": buckets},
        {"name": "cluster.echo.external.upstream_rq_time", "buckets": []},
        {"name": "http.public.downstream_rq_time", "buckets": []},
    ]
    latency = parse(answer(("cluster.echo.upstream_rq_2xx", 3), histograms=histograms))[
        "echo"
    ].latency
    assert latency.buckets == {0.001: 2, 0.01: 3, math.inf: 3}
    assert latency.count == 3
    assert latency.total == pytest.approx(2 * 0.0005 + 0.0055)


def test_empty_statistics_are_valid():
    assert parse(answer()) == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"stats": [{}]}', b'{"stats": [1]}'])
def test_an_invalid_reply_of_envoy_is_an_error(body):
    with pytest.raises(EnvoyFailed, match="cannot be read"):
        parse(body)
