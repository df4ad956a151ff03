"""Whether a call ended as it may: a pure function of the call and of what was done meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chaos.spans import Facts, Kind

AFTERMATH = 0.5
"""Seconds for which a deed may still be felt: a signal takes a moment, news travel."""

SLACK = 3.0
"""Seconds beyond its deadline after which a call hangs: the watcher looks every 50 ms, the rest is
a busy machine's."""

CRASHES_REMEMBERED = 75.0
"""Seconds for which crashes delay the next start (a minute at most), and may be told to callers."""

START_ERRORS = frozenset({"StartError", "ReplicaExited", "StartTimeout"})
"""What a call is told whose function has no replica because they keep being killed."""


class Ending(StrEnum):
    """How a call ended."""

    REPLY = "reply"
    """A whole reply that is no error."""
    PROBLEM = "problem"
    """An error that was told."""
    BROKEN = "broken"
    """The connection could not be made, or was lost."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call and how it ended.

    Attributes:
        function: Of which function.
        way: How it was made, for people.
        connected: When its connection was made, in seconds of the monotonic clock: a connection
            that is kept may have been lost before the call.
        begin: When it began.
        end: When it was over.
        deadline: Seconds that it was given.
        ending: How it ended.
        version: With a reply that is byte for byte what it must be, which version gave it.
        error: With a problem, the error's class.
        detail: What else was told, for people.
        partial: Whether the connection may have been lost during the reply.
        bridged: Whether it went by the bridge.
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


class Finding(StrEnum):
    """What a call comes to."""

    GOOD = "good"
    ALLOWED = "allowed"
    VIOLATION = "violation"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a call comes to, and why.

    Attributes:
        finding: What.
        why: The cause, or what is violated.
    """

    finding: Finding
    why: str


def judge(call: Call, facts: Facts) -> Verdict:
    """Judges a call.

    Args:
        call: Which is over.
        facts: What was done up to its end; of later the more, the stricter.
    """
    if call.end - call.begin > call.deadline + SLACK:
        return _violation("it hung beyond its deadline")
    match call.ending:
        case Ending.REPLY:
            return _of_reply(call, facts)
        case Ending.BROKEN:
            return _of_broken(call, facts)
        case Ending.PROBLEM:
            return _of_problem(call, facts)


def _of_reply(call: Call, facts: Facts) -> Verdict:
    if not call.version:
        return _violation("the reply is not what it must be")
    serving = facts.versions(call.function, call.begin - AFTERMATH, call.end)
    if call.version not in serving:
        return _violation(f"{call.version} answered, which did not serve then")
    return Verdict(Finding.GOOD, "")


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
    match call.error:
        case "FunctionNotFound":
            causes = [(absent, "the function was not deployed")]
        case "ReplicaLost":
            envoy = facts.any(Kind.ENVOY, call.connected - AFTERMATH, call.end)
            causes = [
                (_replica_lost(call, facts), "a replica was killed"),
                (call.partial and envoy, "Envoy was killed"),
                (call.bridged and envoy, "Envoy was killed"),
                (bridge, "the bridge was killed"),
            ]
        case "NotReady":
            resting = facts.any(Kind.RESTING, call.begin - AFTERMATH, call.end, call.function)
            alone = _replica_lost(call, facts) and facts.any(
                Kind.CONTROL, call.begin - AFTERMATH, call.end
            )
            causes = [
                (absent, "the function was not deployed"),
                (resting, "the function was scaled to 0"),
                (alone, "replicas were killed, and the control plane as well"),
                (bridge, "the bridge was killed"),
            ]
        case "DeadlineExceeded":
            waited = call.end - call.begin >= call.deadline - AFTERMATH
            causes = [(waited and _held_up(call, facts), "its time was up, after kills")]
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
