"""Judges whether a call ended as it may: a pure function of the call and of what was done meanwhile.

A call has begun when the watcher passes it to a handler's thread or loop. It begins at most once. A
call that has not begun is never lost: it moves to another replica. When a replica is lost, only
three kinds of calls may fail: a call that had begun, a call that cannot move (its body is larger
than the gateway keeps, or it is a stream), and a call whose reply had begun.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from chaos.spans import Facts, Kind, Span

AFTERMATH = 0.5
"""Seconds for which an action may still have an effect: signals and updates take a moment."""

SLACK = 3.0
"""Seconds beyond its deadline after which a call hangs: the watcher polls every 50 ms, the rest is
for a busy machine."""

CRASHES_REMEMBERED = 75.0
"""Seconds for which crashes delay the next start (a minute at most), and may be reported to
callers."""

START_ERRORS = frozenset({"StartError", "ReplicaExited", "StartTimeout"})
"""Errors of a call whose function has no replica because its replicas were killed repeatedly."""


LOSSES = frozenset({"ReplicaLost", "NotReady", "ReplicaExited"})
"""Errors of a call whose replica is lost."""

UNSEEN = "a replica was killed just when it began, before its handler could write that down"
"""A cause that each kill explains at most once: see :func:`unexplained`."""


class Ending(StrEnum):
    """How a call ended."""

    REPLY = "reply"
    """A complete reply without an error."""
    PROBLEM = "problem"
    """An error reply."""
    BROKEN = "broken"
    """The connection could not be opened, or was lost."""
    LEFT = "left"
    """Its caller disconnected before it ended."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call and how it ended.

    Attributes:
        function: Its function.
        way: Its kind, for people.
        connected: Time at which its connection was opened, in seconds of the monotonic clock: a
            kept connection may have been lost before the call.
        begin: When it was sent.
        end: When it ended.
        deadline: Its deadline in seconds.
        ending: How it ended.
        version: The version that gave the reply, if every byte of the reply is right.
        error: The class of a problem.
        detail: Further text, for people.
        partial: Whether the connection may have been lost during the reply.
        bridged: Whether it passed through the bridge.
        id: Its unique id; "" if nobody records whether it began.
        begun: The processes in which it began, once for each time.
        messages: How often it may begin, in the same process: a stream begins with each message.
        large: Whether its body is larger than the gateway keeps, so that it cannot move.
        stream: Whether it is a stream, which cannot move once it is open.
        timeout: Seconds that its function allows for a call.
        impatient: Whether its deadline may be too short.
        fatal: Whether its order may end its replica.
        careless: Whether its caller misbehaves.
    """

    function: str
    way: str
    connected: float
    begin: float
    end: float
    deadline: float
    ending: Ending
    version: str = ""
    error: str = ""
    detail: str = ""
    partial: bool = False
    bridged: bool = False
    id: str = ""
    begun: tuple[int, ...] = ()
    messages: int = 1
    large: bool = False
    stream: bool = False
    timeout: float = 15.0
    impatient: bool = False
    fatal: bool = False
    careless: bool = False

    @property
    def may_be_lost(self) -> bool:
        """Return whether it may fail when its replica is lost."""
        return bool(self.begun) or self.partial or self.large or self.stream


class Finding(StrEnum):
    """The result of judging a call."""

    GOOD = "good"
    ALLOWED = "allowed"
    VIOLATION = "violation"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of judging a call, and the reason.

    Attributes:
        finding: The result.
        why: The cause, or the violation.
    """

    finding: Finding
    why: str


def judge(call: Call, facts: Facts) -> Verdict:
    """Judge a call.

    Args:
        call: A call that has ended.
        facts: What was done up to its end; later facts make the judgement stricter.
    """
    still = facts.away(Kind.STILL, call.begin, call.end)
    if call.end - call.begin > call.deadline + SLACK + still:
        return _violation("it hung beyond its deadline")
    if len(call.begun) > call.messages or len(set(call.begun)) > 1:
        return _violation(f"it began {len(call.begun)} times, in {sorted(set(call.begun))}")
    match call.ending:
        case Ending.LEFT:
            return _allowed("its caller went away")
        case Ending.REPLY:
            return _of_reply(call, facts)
        case Ending.BROKEN:
            return _forgiven(call) or _of_broken(call, facts)
        case Ending.PROBLEM:
            return _forgiven(call) or _of_problem(call, facts)


def unexplained(calls: Iterable[Call], facts: Facts) -> list[Call]:
    """Return the calls that were allowed as :data:`UNSEEN` but exceed the number of kills.

    A kill meets at most one call that has just begun, because a replica begins one call at a time.

    Args:
        calls: The calls that were allowed for that reason.
        facts: What was done.
    """
    left = sorted(calls, key=lambda call: call.end)
    for function in {call.function for call in left}:
        kills = facts.during(Kind.REPLICA, -math.inf, math.inf, function)
        for kill in sorted(kills, key=lambda kill: kill.begin):
            met = (call for call in left if call.function == function and _meets(kill, call))
            if (first := next(met, None)) is not None:
                left.remove(first)
    return left


def _meets(kill: Span, call: Call) -> bool:
    return kill.meets(call.begin - AFTERMATH, call.end)


def _of_reply(call: Call, facts: Facts) -> Verdict:
    if not call.version:
        return _violation("the reply is wrong")
    serving = facts.versions(call.function, call.begin - AFTERMATH, call.end)
    if call.version not in serving:
        return _violation(f"{call.version} answered but did not serve then")
    return Verdict(Finding.GOOD, "")


def _forgiven(call: Call) -> Verdict | None:
    """Return a verdict if the call itself caused its failure, else None."""
    if call.careless:
        return _allowed("its caller was careless")
    if call.fatal and call.error in LOSSES | {"DeadlineExceeded"}:
        return _allowed("it ended its replica")
    return None


def _of_broken(call: Call, facts: Facts) -> Verdict:
    if facts.any(Kind.ENVOY, call.connected - AFTERMATH, call.end):
        return _allowed("Envoy was killed")
    if call.bridged and facts.any(Kind.BRIDGE, call.begin - AFTERMATH, call.end):
        return _allowed("the bridge was killed")
    if (call.partial or call.bridged) and _replica_lost(call, facts):
        return _allowed("a replica was killed during its reply")
    return _violation("the connection broke without a cause")


def _of_problem(call: Call, facts: Facts) -> Verdict:
    causes: list[tuple[bool, str]] = []
    bridge = call.bridged and facts.any(Kind.BRIDGE, call.begin - AFTERMATH, call.end)
    absent = facts.any(Kind.ABSENT, call.begin - AFTERMATH, call.end, call.function)
    killed = _replica_lost(call, facts)
    lost = killed and call.may_be_lost
    match call.error:
        case "FunctionNotFound":
            causes = [(absent, "the function was not deployed")]
        case "ReplicaLost":
            envoy = facts.any(Kind.ENVOY, call.connected - AFTERMATH, call.end)
            causes = [
                (lost, "a replica was killed"),
                (killed, UNSEEN),
                (call.partial and envoy, "Envoy was killed"),
                (call.bridged and envoy, "Envoy was killed"),
                (bridge, "the bridge was killed"),
            ]
        case "NotReady":
            resting = facts.any(Kind.RESTING, call.begin - AFTERMATH, call.end, call.function)
            alone = killed and facts.any(Kind.CONTROL, call.begin - AFTERMATH, call.end)
            causes = [
                (lost, "a replica was killed"),
                (call.large, "it could not move"),
                (absent, "the function was not deployed"),
                (resting, "the function was scaled to 0"),
                (alone, "replicas were killed, and the control plane as well"),
                (bridge, "the bridge was killed"),
            ]
        case "DeadlineExceeded":
            limit = min(call.deadline, call.timeout)
            waited = call.end - call.begin >= limit - min(AFTERMATH, limit / 10)
            if waited and call.impatient:
                return Verdict(Finding.GOOD, "")
            causes = [(waited and _held_up(call, facts), "its deadline passed after kills")]
        case error if error in START_ERRORS:
            causes = [(_crashes(call, facts) > 0, "a replica was killed while it started")]
    for holds, why in causes:
        if holds:
            return _allowed(why)
    return _violation(f"{call.error} without a cause: {call.detail}")


def _replica_lost(call: Call, facts: Facts) -> bool:
    return facts.any(Kind.REPLICA, call.begin - AFTERMATH, call.end, call.function)


def _crashes(call: Call, facts: Facts) -> int:
    before = call.begin - CRASHES_REMEMBERED
    return len(facts.during(Kind.REPLICA, before, call.end, call.function))


def _held_up(call: Call, facts: Facts) -> bool:
    before = call.begin - AFTERMATH
    return _crashes(call, facts) > 1 or any(
        facts.any(kind, before, call.end, function)
        for kind, function in (
            (Kind.REPLICA, call.function),
            (Kind.CONTROL, ""),
            (Kind.ENVOY, ""),
        )
    )


def _allowed(why: str) -> Verdict:
    return Verdict(Finding.ALLOWED, why)


def _violation(why: str) -> Verdict:
    return Verdict(Finding.VIOLATION, why)
