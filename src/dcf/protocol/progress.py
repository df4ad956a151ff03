"""Progress of a deploy: one JSON object per line. The last line has the result."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from dcf.model.status import FunctionStatus
from dcf.protocol.api_types import ProblemDocument
from dcf.protocol.gateway import function_of, members_of
from dcf.protocol.text import json_bytes


class ProgressKind(StrEnum):
    """Kind of a line."""

    STARTED = "started"
    """A step started: ``step``, ``detail``."""
    FINISHED = "finished"
    """The last started step is finished: ``step``, ``detail``, ``seconds``."""
    NOTICE = "notice"
    """A notice for the author: ``detail``."""
    OUTPUT = "output"
    """A line of a tool's output: ``detail``."""
    REVISION = "revision"
    """The revision is durable in the catalog: ``number``, ``is_new``."""
    PING = "ping"
    """Nothing new. Keeps the connection alive."""
    ACCEPTED = "accepted"
    """The deploy succeeded, for a client that does not wait for replicas: ``function``."""
    READY = "ready"
    """The deploy succeeded and its replicas are ready: ``function``."""
    FAILED = "failed"
    """The deploy failed: ``problem``, as in ``dcf.protocol.problem``."""


LAST = frozenset({ProgressKind.ACCEPTED, ProgressKind.READY, ProgressKind.FAILED})
"""Kinds of the last line of a complete reply."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One line. :class:`ProgressKind` lists the members of each kind.

    Attributes:
        kind: The kind of line.
        step: Name of a step: ``environment``, ``lock``.
        detail: Text for people.
        seconds: Duration of the step.
        number: Number of the revision.
        is_new: Whether the revision is new; false if the same artifact and spec were the current
            revision already.
        function: The function's status.
        problem: The members of a problem document.
    """

    kind: ProgressKind
    step: str = ""
    detail: str = ""
    seconds: float = 0.0
    number: int = 0
    is_new: bool = False
    function: FunctionStatus | None = None
    problem: Annotated[Mapping[str, Any], ProblemDocument] = field(default_factory=dict)

    def to_line(self) -> bytes:
        """Return the line with its line break."""
        members: dict[str, Any] = {
            "kind": str(self.kind),
            "step": self.step,
            "detail": self.detail,
            "seconds": self.seconds,
            "number": self.number,
            "is_new": self.is_new,
            "problem": dict(self.problem),
        }
        if self.function is not None:
            members["function"] = members_of(self.function)
        kept = {name: value for name, value in members.items() if value}
        return json_bytes(kept) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Progress:
        """Parse the output of :meth:`to_line`.

        Raises:
            KeyError, TypeError, ValueError: If the line is anything else.
        """
        try:
            members = json.loads(line)
        except RecursionError as error:
            raise ValueError("expected a line of progress, got JSON nested too deeply") from error
        if not isinstance(members, dict):
            raise TypeError(f"expected a JSON object, got {type(members).__name__}")
        number = members.get("number", 0)
        if not isinstance(number, int):
            raise TypeError(f"expected a whole number as `number`, got {number!r:.40}")
        problem = members.get("problem", {})
        if not isinstance(problem, dict):
            raise TypeError(f"expected a JSON object as `problem`, got {problem!r:.40}")
        seconds = members.get("seconds", 0.0)
        if not isinstance(seconds, int | float) or not 0 <= seconds <= sys.float_info.max:
            raise ValueError(f"expected a finite number as `seconds`, got {seconds!r:.40}")
        function = members.get("function")
        return cls(
            ProgressKind(members["kind"]),
            step=str(members.get("step", "")),
            detail=str(members.get("detail", "")),
            seconds=float(seconds),
            number=number,
            is_new=bool(members.get("is_new", False)),
            function=None if function is None else function_of(function),
            problem=problem,
        )
