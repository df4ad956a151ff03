"""What was done to the gateway and when, as spans of time: all that a call is judged by."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    """What is so during a span."""

    SERVING = "serving"
    """A version of a function may answer its calls."""
    ABSENT = "absent"
    """A function is not surely deployed."""
    RESTING = "resting"
    """A function is scaled to 0 by hand, or may be."""
    REPLICA = "replica"
    """A replica of a function is being killed, stands still, or may be ended by its handler."""
    ENVOY = "envoy"
    """Envoy was killed or stopped and does not answer again yet."""
    STILL = "still"
    """Envoy is stopped, so that not even a deadline can be told through it."""
    CONTROL = "control"
    """The control plane was killed or stopped and does not answer again yet."""
    BRIDGE = "bridge"
    """The bridge was killed or stopped and does not take streams again yet."""
    SUPERVISOR = "supervisor"
    """The supervisor is stopped."""
    FIRST = "first"
    """The process of ``gateway start`` is stopped. Nothing may fail because of that."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something that is so for a while.

    Attributes:
        kind: What.
        begin: In seconds of the monotonic clock.
        end: Likewise; infinite while it is not over.
        function: Of which function; "" where it is about the whole gateway.
        version: Which one serves; "" where that is not the point.
    """

    kind: Kind
    begin: float
    end: float = math.inf
    function: str = ""
    version: str = ""

    def meets(self, begin: float, end: float) -> bool:
        """Whether it was so at some instant of a time."""
        return self.begin <= end and begin <= self.end


class Facts:
    """All spans up to some time."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans: dict[tuple[Kind, str], list[Span]] = {}
        for span in spans:
            self._spans.setdefault((span.kind, span.function), []).append(span)

    def during(self, kind: Kind, begin: float, end: float, function: str = "") -> list[Span]:
        """The spans of a kind that meet a time, of the whole gateway or of one function."""
        return [one for one in self._spans.get((kind, function), ()) if one.meets(begin, end)]

    def any(self, kind: Kind, begin: float, end: float, function: str = "") -> bool:
        """Whether there is one."""
        return bool(self.during(kind, begin, end, function))

    def away(self, kind: Kind, begin: float, end: float) -> float:
        """Return for how many seconds of a time something was so, of the whole gateway."""
        met = self.during(kind, begin, end)
        return sum(min(one.end, end) - max(one.begin, begin) for one in met)

    def lengths(self, kind: Kind) -> list[float]:
        """Seconds that each span of a kind took which is over, of the gateway and of functions."""
        return [
            one.end - one.begin
            for (known, _), spans in self._spans.items()
            for one in spans
            if known is kind and not math.isinf(one.end)
        ]

    def versions(self, function: str, begin: float, end: float) -> set[str]:
        """The versions of a function that may have answered."""
        return {span.version for span in self.during(Kind.SERVING, begin, end, function)}


class History:
    """Spans and deeds as they come. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._deeds: list[tuple[float, str]] = []
        self._began = time.monotonic()

    def begin(self, kind: Kind, function: str = "", version: str = "") -> int:
        """A span begins now.

        Returns:
            Its number, for :meth:`end`.
        """
        with self._lock:
            self._spans.append(Span(kind, time.monotonic(), math.inf, function, version))
            return len(self._spans) - 1

    def end(self, number: int, after: float = 0.0) -> None:
        """A span is over, if it was not before.

        Args:
            number: Which one.
            after: Seconds from now until it is.
        """
        with self._lock:
            span = self._spans[number]
            if math.isinf(span.end):
                self._spans[number] = replace(span, end=time.monotonic() + after)

    def note(self, deed: str) -> None:
        """Something was done, for people."""
        with self._lock:
            self._deeds.append((time.monotonic(), deed))

    def facts(self) -> Facts:
        """All spans as they are now."""
        with self._lock:
            return Facts(self._spans)

    def at(self, when: float) -> str:
        """A time for people: seconds since the beginning."""
        return f"{when - self._began:8.3f}"

    def lines(self) -> list[str]:
        """What was done, a line for each deed."""
        with self._lock:
            return [f"{self.at(when)}  {deed}" for when, deed in self._deeds]
