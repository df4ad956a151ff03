"""What a gateway tells while it deploys: one JSON object a line, the last one says how it ended."""

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
    """What a line tells."""

    STARTED = "started"
    """A step begins: ``step``, ``detail``."""
    FINISHED = "finished"
    """The step that began last is done: ``step``, ``detail``, ``seconds``."""
    NOTICE = "notice"
    """Something the author should know: ``detail``."""
    OUTPUT = "output"
    """A line of a tool at work: ``detail``."""
    REVISION = "revision"
    """The revision is in the catalog, for good: ``number``, ``is_new``."""
    PING = "ping"
    """Nothing new; sent so that nobody takes the gateway for dead."""
    ACCEPTED = "accepted"
    """The end, where nobody waits for replicas: ``function``."""
    READY = "ready"
    """The end: its replicas are ready: ``function``."""
    FAILED = "failed"
    """The end: what went wrong: ``problem``, as of ``dcf.protocol.problem``."""


LAST = frozenset({ProgressKind.ACCEPTED, ProgressKind.READY, ProgressKind.FAILED})
"""What a complete reply ends with."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One line. Which members it has stands at each kind.

    Attributes:
        kind: What it tells.
        step: Name of a step: ``environment``, ``lock``.
        detail: For people.
        seconds: How long the step took.
        number: Of the revision.
        is_new: Whether the revision is new; false when this very artifact and spec were deployed.
        function: How it is now.
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
        """The line, its end included."""
        found: dict[str, Any] = {
            "kind": str(self.kind),
            "step": self.step,
            "detail": self.detail,
            "seconds": self.seconds,
            "number": self.number,
            "is_new": self.is_new,
            "problem": dict(self.problem),
        }
        if self.function is not None:
            found["function"] = members_of(self.function)
        kept = {name: value for name, value in found.items() if value}
        return json_bytes(kept) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Progress:
        """Reads what :meth:`to_line` wrote.

        Raises:
            KeyError, TypeError, ValueError: When it is something else.
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
