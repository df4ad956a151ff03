"""The actions on the gateway as spans of time: all that a call is judged by."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    """The kind of a span."""

    SERVING = "serving"
    """A version of a function may answer its calls."""
    ABSENT = "absent"
    """A function may not be deployed."""
    RESTING = "resting"
    """A function is scaled to 0 manually, or may be."""
    REPLICA = "replica"
    """A replica of a function is being killed, is stopped, or may be ended by its handler."""
    ENVOY = "envoy"
    """Envoy was killed or stopped and does not answer again yet."""
    STILL = "still"
    """Envoy is stopped, so that it cannot even report an exceeded deadline."""
    CONTROL = "control"
    """The control plane was killed or stopped and does not answer again yet."""
    BRIDGE = "bridge"
    """The bridge was killed or stopped and does not accept streams again yet."""
    SUPERVISOR = "supervisor"
    """The supervisor is stopped."""
    FIRST = "first"
    """The process of ``gateway start`` is stopped. Nothing may fail because of that."""


@dataclass(frozen=True, slots=True)
class Span:
    """A condition that holds for a while.

    Attributes:
        kind: The condition.
        begin: Start, in seconds of the monotonic clock.
        end: End, in seconds of the same clock; infinite while the span is open.
        function: The function; "" for the whole gateway.
        version: The version that serves; "" for other kinds.
    """

    kind: Kind
    begin: float
    end: float = math.inf
    function: str = ""
    version: str = ""

    def meets(self, begin: float, end: float) -> bool:
        """Return whether the span overlaps a time."""
        return self.begin <= end and begin <= self.end


class Facts:
    """All spans up to some time."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans: dict[tuple[Kind, str], list[Span]] = {}
        for span in spans:
            self._spans.setdefault((span.kind, span.function), []).append(span)

    def during(self, kind: Kind, begin: float, end: float, function: str = "") -> list[Span]:
        """Return the spans of a kind that overlap a time, of the whole gateway or of one
        function."""
        return [span for span in self._spans.get((kind, function), ()) if span.meets(begin, end)]

    def any(self, kind: Kind, begin: float, end: float, function: str = "") -> bool:
        """Return whether there is such a span."""
        return bool(self.during(kind, begin, end, function))

    def away(self, kind: Kind, begin: float, end: float) -> float:
        """Return for how many seconds of a time a condition held, of the whole gateway."""
        met = self.during(kind, begin, end)
        return sum(min(span.end, end) - max(span.begin, begin) for span in met)

    def lengths(self, kind: Kind) -> list[float]:
        """Return the seconds of each closed span of a kind, of the gateway and of functions."""
        return [
            span.end - span.begin
            for (known, _), spans in self._spans.items()
            for span in spans
            if known is kind and not math.isinf(span.end)
        ]

    def versions(self, function: str, begin: float, end: float) -> set[str]:
        """Return the versions of a function that may have answered."""
        return {span.version for span in self.during(Kind.SERVING, begin, end, function)}


class History:
    """Records spans and actions as they happen. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._actions: list[tuple[float, str]] = []
        self._began = time.monotonic()

    def begin(self, kind: Kind, function: str = "", version: str = "") -> int:
        """Open a span now.

        Returns:
            Its number, for :meth:`end`.
        """
        with self._lock:
            self._spans.append(Span(kind, time.monotonic(), math.inf, function, version))
            return len(self._spans) - 1

    def end(self, number: int, after: float = 0.0) -> None:
        """Close a span, unless it is closed.

        Args:
            number: The span.
            after: Seconds from now until its end.
        """
        with self._lock:
            span = self._spans[number]
            if math.isinf(span.end):
                self._spans[number] = replace(span, end=time.monotonic() + after)

    def note(self, action: str) -> None:
        """Record an action, for people."""
        with self._lock:
            self._actions.append((time.monotonic(), action))

    def facts(self) -> Facts:
        """Return all spans as they are now."""
        with self._lock:
            return Facts(self._spans)

    def at(self, when: float) -> str:
        """Format a time for people: seconds since the start."""
        return f"{when - self._began:8.3f}"

    def lines(self) -> list[str]:
        """Return the actions, a line each."""
        with self._lock:
            return [f"{self.at(when)}  {action}" for when, action in self._actions]
