"""What the judge of chaos allows, and what it does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from chaos.functions import version_of
from chaos.judge import UNSEEN, Call, Ending, Finding, judge, unexplained
from chaos.spans import Facts, History, Kind, Span

SERVED = Span(Kind.SERVING, 0, 100, "f", "v1")
REPLY = Call("f", "http", 50, 50, 51, 15, Ending.REPLY, version="v1")
BROKEN = replace(REPLY, ending=Ending.BROKEN, version="")


def problem(error: str) -> Call:
    return replace(REPLY, ending=Ending.PROBLEM, version="", error=error)


def finding_of(call: Call, *spans: Span) -> Finding:
    return judge(call, Facts([SERVED, *spans])).finding


def test_a_reply_is_good_if_its_version_served_then():
    assert finding_of(REPLY) is Finding.GOOD
    assert finding_of(replace(REPLY, version="")) is Finding.VIOLATION
    assert finding_of(replace(REPLY, version="v2")) is Finding.VIOLATION
    assert finding_of(replace(REPLY, version="v2"), Span(Kind.SERVING, 51, 90, "g", "v2")) is (
        Finding.VIOLATION
    )
    assert finding_of(
        replace(REPLY, version="v2"), Span(Kind.SERVING, 51, math.inf, "f", "v2")
    ) is (Finding.GOOD)
    assert finding_of(replace(REPLY, version="v0"), Span(Kind.SERVING, 0, 49, "f", "v0")) is (
        Finding.VIOLATION
    )


def test_a_call_that_hangs_is_a_violation():
    late = replace(REPLY, end=70)
    everything = [Span(kind, 0, 100, "f") for kind in Kind] + [Span(Kind.ENVOY, 0, 100)]
    assert finding_of(late, *everything) is Finding.VIOLATION


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
    assert finding_of(call, cause) is Finding.ALLOWED
    assert finding_of(call) is Finding.VIOLATION
    before = Span(cause.kind, -90, -80, cause.function)
    assert finding_of(call, before) is Finding.VIOLATION
    elsewhere = Span(cause.kind, cause.begin, cause.end, "g")
    assert finding_of(call, elsewhere) is Finding.VIOLATION


def test_a_failure_may_need_several_causes():
    killed = Span(Kind.REPLICA, 50, 51, "f")
    assert finding_of(problem("NotReady"), killed) is Finding.VIOLATION
    assert finding_of(problem("NotReady"), killed, Span(Kind.CONTROL, 48, 52)) is Finding.ALLOWED
    again = Span(Kind.REPLICA, 20, 21, "f")
    assert finding_of(problem("NotReady"), killed, again) is Finding.VIOLATION
    assert finding_of(problem("DeadlineExceeded"), killed) is Finding.VIOLATION, (
        "long before its deadline"
    )
    assert finding_of(BROKEN, killed) is Finding.VIOLATION, "the gateway must report an error"
    assert finding_of(problem("HandlerRaised"), killed) is Finding.VIOLATION


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


def test_calls_through_the_bridge_may_be_lost_with_it():
    killed = Span(Kind.BRIDGE, 50, 51)
    for call in (BROKEN, problem("ReplicaLost"), problem("NotReady")):
        assert finding_of(call, killed) is Finding.VIOLATION
        assert finding_of(replace(call, bridged=True), killed) is Finding.ALLOWED
        assert finding_of(replace(call, bridged=True)) is Finding.VIOLATION


KILLED = Span(Kind.REPLICA, 50, 51, "f")
LOST = replace(problem("ReplicaLost"), id="1")


def test_only_a_call_that_had_begun_may_fail_with_its_replica():
    for error in ("ReplicaLost", "NotReady"):
        lost = replace(LOST, error=error, begun=(7,))
        assert judge(lost, Facts([SERVED, KILLED])).why == "a replica was killed"
        assert finding_of(lost) is Finding.VIOLATION
    assert finding_of(replace(LOST, error="NotReady"), KILLED) is Finding.VIOLATION


def test_a_kill_explains_a_single_call_that_had_not_begun():
    calls = [replace(LOST, id=str(number), end=51 + number / 10) for number in range(3)]
    facts = Facts([SERVED, KILLED])
    assert {judge(call, facts).why for call in calls} == {UNSEEN}
    assert unexplained(calls[:1], facts) == []
    assert unexplained(calls, facts) == calls[1:]
    assert unexplained(calls, Facts([SERVED, KILLED, KILLED])) == calls[2:]
    elsewhere = Span(Kind.REPLICA, 50, 51, "g")
    assert unexplained(calls, Facts([SERVED, elsewhere])) == calls
    late = replace(LOST, begin=60, end=61)
    assert unexplained([late], facts) == [late]


def test_a_call_that_cannot_move_may_be_lost_before_it_begins():
    for call in (replace(LOST, large=True), replace(LOST, stream=True)):
        assert judge(call, Facts([SERVED, KILLED])).why == "a replica was killed"
        assert finding_of(call) is Finding.VIOLATION
    drained = problem("NotReady")
    assert finding_of(replace(drained, large=True)) is Finding.ALLOWED
    assert finding_of(replace(drained, stream=True)) is Finding.VIOLATION


def test_a_call_begins_at_most_once_however_it_ends():
    assert finding_of(replace(REPLY, begun=(7,))) is Finding.GOOD
    for call in (REPLY, LOST, BROKEN, replace(REPLY, ending=Ending.LEFT)):
        for begun in ((7, 7), (7, 8)):
            assert finding_of(replace(call, begun=begun), KILLED) is Finding.VIOLATION
    stream = replace(REPLY, messages=3, stream=True)
    assert finding_of(replace(stream, begun=(7, 7, 7))) is Finding.GOOD
    assert finding_of(replace(stream, begun=(7, 7, 7, 7))) is Finding.VIOLATION
    assert finding_of(replace(stream, begun=(7, 8))) is Finding.VIOLATION


def test_a_short_deadline_is_enforced_and_needs_no_cause():
    hasty = replace(problem("DeadlineExceeded"), deadline=0.4, impatient=True)
    assert finding_of(replace(hasty, end=50.41)) is Finding.GOOD
    assert finding_of(replace(hasty, end=50.2)) is Finding.VIOLATION, "long before its deadline"
    assert finding_of(replace(hasty, end=60)) is Finding.VIOLATION, "it hung"
    assert finding_of(replace(hasty, end=50.41, impatient=False)) is Finding.VIOLATION
    assert finding_of(replace(hasty, error="ReplicaLost")) is Finding.VIOLATION


def test_a_functions_timeout_applies_if_it_is_shorter():
    late = replace(problem("DeadlineExceeded"), end=55, timeout=5)
    assert finding_of(late, KILLED) is Finding.ALLOWED
    assert finding_of(late) is Finding.VIOLATION
    assert finding_of(replace(late, timeout=15), KILLED) is Finding.VIOLATION


def test_only_calls_that_end_their_replica_may_fail_without_another_cause():
    for error in ("ReplicaLost", "NotReady", "ReplicaExited", "DeadlineExceeded"):
        assert finding_of(replace(problem(error), fatal=True)) is Finding.ALLOWED
    assert finding_of(replace(problem("HandlerRaised"), fatal=True)) is Finding.VIOLATION
    assert finding_of(replace(REPLY, fatal=True)) is Finding.GOOD
    assert finding_of(replace(BROKEN, fatal=True)) is Finding.VIOLATION


def test_a_careless_call_may_fail_in_any_way_except_by_hanging():
    for call in (BROKEN, problem("BodyTooLarge"), replace(REPLY, ending=Ending.LEFT)):
        assert finding_of(replace(call, careless=True)) is Finding.ALLOWED
    assert finding_of(replace(BROKEN, careless=True, end=70)) is Finding.VIOLATION
    assert finding_of(replace(REPLY, careless=True, version="")) is Finding.VIOLATION


def test_a_call_may_outlast_its_deadline_by_as_long_as_envoy_is_stopped():
    late = replace(REPLY, end=85)
    assert finding_of(late, Span(Kind.STILL, 51, 72)) is Finding.GOOD
    assert finding_of(late, Span(Kind.STILL, 51, 53)) is Finding.VIOLATION
    assert finding_of(late, Span(Kind.ENVOY, 51, 72)) is Finding.VIOLATION
    assert finding_of(late, Span(Kind.CONTROL, 51, 72)) is Finding.VIOLATION
    assert finding_of(late, Span(Kind.FIRST, 51, 72)) is Finding.VIOLATION


def test_a_span_may_end_after_its_end_is_recorded():
    history = History()
    number = history.begin(Kind.REPLICA, "f")
    history.end(number, after=5)
    [span] = history.facts().during(Kind.REPLICA, 0, math.inf, "f")
    assert span.end - span.begin >= 5
    assert Facts([Span(Kind.STILL, 0, 3), Span(Kind.STILL, 8, 20)]).away(Kind.STILL, 1, 10) == 4
