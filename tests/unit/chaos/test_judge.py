"""What the judge of chaos lets pass, and what not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from chaos.functions import version_of
from chaos.judge import Call, Ending, Finding, judge
from chaos.spans import Facts, History, Kind, Span

SERVED = Span(Kind.SERVING, 0, 100, "f", "v1")
REPLY = Call("f", "http", 50, 50, 51, 15, Ending.REPLY, version="v1")
BROKEN = replace(REPLY, ending=Ending.BROKEN, version="")


def problem(error: str) -> Call:
    return replace(REPLY, ending=Ending.PROBLEM, version="", error=error)


def found(call: Call, *spans: Span) -> Finding:
    return judge(call, Facts([SERVED, *spans])).finding


def test_a_reply_is_good_when_its_version_served_then():
    assert found(REPLY) is Finding.GOOD
    assert found(replace(REPLY, version="")) is Finding.VIOLATION
    assert found(replace(REPLY, version="v2")) is Finding.VIOLATION
    assert found(replace(REPLY, version="v2"), Span(Kind.SERVING, 51, 90, "g", "v2")) is (
        Finding.VIOLATION
    )
    assert found(replace(REPLY, version="v2"), Span(Kind.SERVING, 51, math.inf, "f", "v2")) is (
        Finding.GOOD
    )
    assert found(replace(REPLY, version="v0"), Span(Kind.SERVING, 0, 49, "f", "v0")) is (
        Finding.VIOLATION
    )


def test_what_hangs_is_never_allowed():
    late = replace(REPLY, end=70)
    everything = [Span(kind, 0, 100, "f") for kind in Kind] + [Span(Kind.ENVOY, 0, 100)]
    assert found(late, *everything) is Finding.VIOLATION


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (BROKEN, Span(Kind.ENVOY, 50, 51)),
        (replace(BROKEN, connected=10), Span(Kind.ENVOY, 20, 21)),
        (replace(BROKEN, partial=True), Span(Kind.REPLICA, 50, 51, "f")),
        (problem("ReplicaLost"), Span(Kind.REPLICA, 49.8, 49.9, "f")),
        (problem("FunctionNotFound"), Span(Kind.ABSENT, 20, 50, "f")),
        (problem("NotReady"), Span(Kind.ABSENT, 20, 50, "f")),
        (problem("NotReady"), Span(Kind.RESTING, 20, math.inf, "f")),
        (problem("ReplicaExited"), Span(Kind.REPLICA, 20, 21, "f")),
        (replace(problem("DeadlineExceeded"), end=65), Span(Kind.REPLICA, 50, 51, "f")),
    ],
    ids=lambda value: str(value.error or value.ending) if isinstance(value, Call) else value.kind,
)
def test_a_failure_needs_its_cause(call: Call, cause: Span):
    assert found(call, cause) is Finding.ALLOWED
    assert found(call) is Finding.VIOLATION
    before = Span(cause.kind, -90, -80, cause.function)
    assert found(call, before) is Finding.VIOLATION
    elsewhere = Span(cause.kind, cause.begin, cause.end, "g")
    assert found(call, elsewhere) is Finding.VIOLATION


def test_failures_of_several_causes():
    killed = Span(Kind.REPLICA, 50, 51, "f")
    assert found(problem("NotReady"), killed) is Finding.VIOLATION
    assert found(problem("NotReady"), killed, Span(Kind.CONTROL, 48, 52)) is Finding.ALLOWED
    again = Span(Kind.REPLICA, 20, 21, "f")
    assert found(problem("NotReady"), killed, again) is Finding.VIOLATION
    assert found(problem("DeadlineExceeded"), killed) is Finding.VIOLATION, "long before its time"
    assert found(BROKEN, killed) is Finding.VIOLATION, "an error is told where it can be"
    assert found(problem("HandlerRaised"), killed) is Finding.VIOLATION


def test_a_reply_is_compared_byte_by_byte():
    assert version_of(b"sleep 1\nhello", b"v1\nhello") == "v1"
    assert version_of(b"echo\na\nb", b"v1\na\nb") == "v1"
    for wrong in (b"v1\nhell", b"v1\nhello ", b"hello", b"\nhello", b""):
        assert version_of(b"echo\nhello", wrong) == ""


def test_a_span_is_open_until_it_ends_once():
    history = History()
    number = history.begin(Kind.ENVOY)
    assert history.facts().any(Kind.ENVOY, 1e9, 1e9)
    history.end(number)
    [ended] = history.facts().during(Kind.ENVOY, 0, math.inf)
    history.end(number)
    assert history.facts().during(Kind.ENVOY, 0, math.inf) == [ended]
    assert history.facts().lengths(Kind.ENVOY) == [ended.end - ended.begin]


def test_what_goes_by_the_bridge_may_be_lost_with_it():
    killed = Span(Kind.BRIDGE, 50, 51)
    for call in (BROKEN, problem("ReplicaLost"), problem("NotReady")):
        assert found(call, killed) is Finding.VIOLATION
        assert found(replace(call, bridged=True), killed) is Finding.ALLOWED
        assert found(replace(call, bridged=True)) is Finding.VIOLATION
