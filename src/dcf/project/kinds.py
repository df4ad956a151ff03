"""The kinds of values in config.yaml: how each is read, and how JSON Schema says the same.

A kind reads a node to a value. None means unset, or a fault that was noted: what is made of the
values is made only once nothing was noted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from yaml import Node

from dcf.model.scaling import LEAST_IDLE, LEAST_TARGET, LONGEST_IDLE, MOST_REPLICAS, MOST_TARGET
from dcf.project import quantities
from dcf.project.nodes import Faults, found, is_unset, kind_of
from dcf.project.runtimes import runtimes, why_unavailable

OLDEST_PYTHON = (3, 11)
"""The oldest interpreter that the watcher runs on."""
PYTHON_PATTERN = r"3\.(1[1-9]|[2-9][0-9])(\.[0-9]{1,3})?"
"""A version from :data:`OLDEST_PYTHON` on, with or without its third number."""
PYTHON_ARGUMENT = "PYTHON_VERSION"
"""The build argument by which the original chose the interpreter."""

VARIABLE_PATTERN = "[A-Za-z_][A-Za-z0-9_]*"
"""The name of a variable (POSIX.1-2017, 8.1, with lower-case letters)."""

Schema = dict[str, Any]


class ValueKind(Protocol):
    """One kind of value."""

    def read(self, node: Node, where: str, faults: Faults) -> Any:
        """The value at ``node``.

        Args:
            node: Where it stands.
            where: Its key, with dots, for messages.
            faults: Takes what is wrong with it.
        """

    def schema(self) -> Schema:
        """JSON Schema for the same values."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text; other scalars are refused, because YAML may already have changed their meaning.

    Attributes:
        pattern: What the whole text must match.
        wanted: The same in words.
    """

    pattern: str = r"[^\x00]*"
    wanted: str = "a text"

    def read(self, node: Node, where: str, faults: Faults) -> str | None:
        """The text."""
        if is_unset(node):
            return None
        kind = kind_of(node)
        if kind != "str":
            quotes = f'; write it in quotes: "{node.value}"' if kind in _SCALAR_KINDS else ""
            faults.add(node, f"{where}: {found(node)} found, {self.wanted} is wanted{quotes}")
        elif not re.fullmatch(self.pattern, node.value):
            faults.add(node, f"{where}: {found(node)} found, {self.wanted} is wanted")
        else:
            return str(node.value)
        return None

    def schema(self) -> Schema:
        """A text or nothing."""
        return {"type": ["string", "null"], "pattern": f"^({self.pattern})?$"}


_SCALAR_KINDS = frozenset({"int", "float", "bool", "time"})


@dataclass(frozen=True, slots=True)
class TruthValue:
    """True or false."""

    def read(self, node: Node, where: str, faults: Faults) -> bool | None:
        """Return the value; ``yes`` and ``on`` are true in YAML 1.1."""
        if is_unset(node):
            return None
        if kind_of(node) == "bool":
            return node.value.lower() in {"true", "yes", "on"}
        faults.add(node, f"{where}: expected true or false, got {found(node)}")
        return None

    def schema(self) -> Schema:
        """Return true, false or nothing."""
        return {"enum": [True, False, "", None]}


@dataclass(frozen=True, slots=True)
class RuntimeName:
    """The name of a runtime."""

    def read(self, node: Node, where: str, faults: Faults) -> str | None:
        """The runtime's name."""
        name = Text(wanted="the name of a runtime").read(node, where, faults)
        if name and (reason := why_unavailable(name)):
            faults.add(node, f"{where}: {reason}")
            return None
        return name

    def schema(self) -> Schema:
        """One of the names, or nothing."""
        return {"enum": [*(runtime.name for runtime in runtimes()), "", None]}


@dataclass(frozen=True, slots=True)
class PythonVersion:
    """The version of an interpreter."""

    def read(self, node: Node, where: str, faults: Faults) -> str | None:
        """The version as written, always from a text: the number 3.10 is 3.1 to YAML."""
        version = Text(wanted="a version of Python such as 3.12, as a text,").read(
            node, where, faults
        )
        if version and (reason := why_no_python(version)):
            faults.add(node, f"{where}: {reason}")
            return None
        return version

    def schema(self) -> Schema:
        """A version as a text, or nothing."""
        return Text(PYTHON_PATTERN).schema()


def why_no_python(version: str) -> str:
    """Why a function cannot run on this version of Python; "" when it can."""
    if re.fullmatch(PYTHON_PATTERN, version):
        return ""
    numbers = re.fullmatch(r"([0-9]{1,4})(?:\.([0-9]{1,4})(?:\.[0-9]{1,4})?)?", version)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    if numbers and (int(numbers[1]), int(numbers[2] or 0)) < OLDEST_PYTHON:
        return f"Python {version} is too old; the oldest supported one is {oldest}"
    return f"{version!r} is no version of Python; one such as 3.12 is wanted, from {oldest} on"


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount, as a number or as a text.

    Attributes:
        pattern: What the text as written must match, be it a number to YAML or not.
        wanted: The same in words.
        parse: Makes the value of such a text; raises ValueError with a reason.
        number: What JSON Schema says of it when it is a number.
        hint: Advice for a text that does not match; "" when there is none.
    """

    pattern: str
    wanted: str
    parse: Callable[[str], float]
    number: Schema
    hint: Callable[[str], str] = lambda _: ""

    def read(self, node: Node, where: str, faults: Faults) -> float | None:
        """The amount."""
        if is_unset(node):
            return None
        reason = ""
        if kind_of(node) in {"str", "int", "float"}:
            if re.fullmatch(self.pattern, node.value):
                try:
                    return self.parse(node.value)
                except ValueError as error:
                    reason = f": {error}"
            else:
                reason = self.hint(node.value)
        faults.add(node, f"{where}: {found(node)} found, {self.wanted} is wanted{reason}")
        return None

    def schema(self) -> Schema:
        """The amount as a number, as a text, or nothing."""
        kinds = [self.number["type"], "string", "null"]
        return {**self.number, "type": kinds, "pattern": f"^({self.pattern})?$"}


MEMORY = Amount(
    quantities.MEMORY_PATTERN,
    "an amount such as 512Mi or 1G, or a number of bytes,",
    quantities.memory,
    {"type": "number", "exclusiveMinimum": 0},
    quantities.memory_hint,
)
CPU = Amount(
    quantities.CPU_PATTERN,
    "a number of cores such as 2, 0.5 or 500m",
    quantities.cpu,
    {"type": "number", "exclusiveMinimum": 0},
)
GPU = Amount(
    quantities.WHOLE_PATTERN,
    "a whole number of GPUs",
    quantities.whole,
    {"type": "integer", "minimum": 0},
)
DURATION = Amount(
    quantities.DURATION_PATTERN,
    "a number of seconds above 0, or a time such as 90s or 5m,",
    quantities.seconds,
    {"type": "number", "exclusiveMinimum": 0},
)
AT_LEAST_ONE = Amount(
    r"(?!0+(\.|$))" + quantities.WHOLE_PATTERN,
    "a whole number from 1 on",
    quantities.whole,
    {"type": "integer", "minimum": 1},
)
_OFF = "; to switch a function off: `dcf-cli function scale NAME 0`"

FEWEST = Amount(
    quantities.WHOLE_PATTERN,
    "a whole number from 0 on",
    quantities.replicas,
    {"type": "integer", "minimum": 0, "maximum": MOST_REPLICAS},
)
MOST = Amount(
    AT_LEAST_ONE.pattern,
    AT_LEAST_ONE.wanted,
    quantities.replicas,
    {"type": "integer", "minimum": 1, "maximum": MOST_REPLICAS},
    lambda text: _OFF if re.fullmatch(quantities.WHOLE_PATTERN, text) else "",
)
TARGET = Amount(
    quantities.NUMBER_PATTERN,
    "a number of calls above 0",
    quantities.target,
    {"type": "number", "minimum": LEAST_TARGET, "maximum": MOST_TARGET},
)
IDLE = Amount(
    DURATION.pattern,
    DURATION.wanted,
    quantities.idle,
    {"type": "number", "minimum": LEAST_IDLE, "maximum": LONGEST_IDLE},
)
NOT_NEGATIVE = Amount(
    quantities.WHOLE_PATTERN,
    "a whole number from 0 on",
    quantities.whole,
    {"type": "integer", "minimum": 0},
)
