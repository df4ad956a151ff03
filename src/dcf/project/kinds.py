"""The kinds of scalar values in config.yaml: how each is parsed, and its JSON Schema.

A kind parses a node to a value. None means that the value is unset or that a problem was added.
Values are used only if there is no problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from yaml import Node

from dcf.model.scaling import MAX_IDLE, MAX_REPLICAS, MAX_TARGET, MIN_IDLE, MIN_TARGET
from dcf.project import quantities
from dcf.project.nodes import ProblemCollector, is_unset, kind_of, shown
from dcf.project.runtimes import runtime_problem, runtimes

OLDEST_PYTHON = (3, 11)
"""Minimum version of Python for the watcher."""
PYTHON_PATTERN = r"3\.(1[1-9]|[2-9][0-9])(\.[0-9]{1,3})?"
"""A version from :data:`OLDEST_PYTHON` on, with an optional third number."""
PYTHON_ARGUMENT = "PYTHON_VERSION"
"""The build argument that sets the version of Python in the original DCF."""

VARIABLE_PATTERN = "[A-Za-z_][A-Za-z0-9_]*"
"""Name of an environment variable (POSIX.1-2017, 8.1, with lower-case letters)."""

Schema = dict[str, Any]


class ValueKind(Protocol):
    """One kind of value."""

    def read(self, node: Node, where: str, problems: ProblemCollector) -> Any:
        """Return the value of ``node``; None if it is unset or invalid.

        Args:
            node: The node.
            where: Its key with dots, for messages.
            problems: Collects the problems.
        """

    def schema(self) -> Schema:
        """Return the JSON Schema of the same values."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text. Other scalars are rejected, because YAML may already have changed their meaning.

    Attributes:
        pattern: What the whole text must match.
        expected: The same in words.
    """

    pattern: str = r"[^\x00]*"
    expected: str = "text"

    def read(self, node: Node, where: str, problems: ProblemCollector) -> str | None:
        """Return the text."""
        if is_unset(node):
            return None
        kind = kind_of(node)
        if kind != "str":
            quotes = f'; write it in quotes: "{node.value}"' if kind in _SCALAR_KINDS else ""
            problems.add(node, f"{where}: expected {self.expected}, got {shown(node)}{quotes}")
        elif not re.fullmatch(self.pattern, node.value):
            problems.add(node, f"{where}: expected {self.expected}, got {shown(node)}")
        else:
            return str(node.value)
        return None

    def schema(self) -> Schema:
        """Return a text or nothing."""
        return {"type": ["string", "null"], "pattern": f"^({self.pattern})?$"}


_SCALAR_KINDS = frozenset({"int", "float", "bool", "time"})


@dataclass(frozen=True, slots=True)
class TruthValue:
    """True or false."""

    def read(self, node: Node, where: str, problems: ProblemCollector) -> bool | None:
        """Return the value; ``yes`` and ``on`` are true in YAML 1.1."""
        if is_unset(node):
            return None
        if kind_of(node) == "bool":
            return node.value.lower() in {"true", "yes", "on"}
        problems.add(node, f"{where}: expected true or false, got {shown(node)}")
        return None

    def schema(self) -> Schema:
        """Return true, false or nothing."""
        return {"enum": [True, False, "", None]}


@dataclass(frozen=True, slots=True)
class RuntimeName:
    """The name of a runtime."""

    def read(self, node: Node, where: str, problems: ProblemCollector) -> str | None:
        """Return the runtime's name."""
        name = Text(expected="the name of a runtime").read(node, where, problems)
        if name and (problem := runtime_problem(name)):
            problems.add(node, f"{where}: {problem}")
            return None
        return name

    def schema(self) -> Schema:
        """Return one of the names, or nothing."""
        return {"enum": [*(runtime.name for runtime in runtimes()), "", None]}


@dataclass(frozen=True, slots=True)
class PythonVersion:
    """The version of an interpreter."""

    def read(self, node: Node, where: str, problems: ProblemCollector) -> str | None:
        """Return the version as written. It must be text: the number 3.10 is 3.1 to YAML."""
        version = Text(expected="a version of Python in quotes").read(node, where, problems)
        if version and (problem := python_problem(version)):
            problems.add(node, f"{where}: {problem}")
            return None
        return version

    def schema(self) -> Schema:
        """Return a version as text, or nothing."""
        return Text(PYTHON_PATTERN).schema()


def python_problem(version: str) -> str:
    """Return why a function cannot run on this version of Python, or ""."""
    if re.fullmatch(PYTHON_PATTERN, version):
        return ""
    numbers = re.fullmatch(r"([0-9]{1,4})(?:\.([0-9]{1,4})(?:\.[0-9]{1,4})?)?", version)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    if numbers and (int(numbers[1]), int(numbers[2] or 0)) < OLDEST_PYTHON:
        return f"expected Python {oldest} or later, got {version}"
    return f"expected a version of Python such as 3.12, at least {oldest}, got {version!r}"


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount, as a number or as text.

    Attributes:
        pattern: What the text in the file must match, whether or not YAML reads it as a number.
        expected: The same in words.
        parse: Converts a matching text to a value, or raises ValueError with the allowed range.
        number: JSON Schema of the amount as a number.
        hint: Returns advice for a text that does not match, or "".
    """

    pattern: str
    expected: str
    parse: Callable[[str], float]
    number: Schema
    hint: Callable[[str], str] = lambda _: ""

    def read(self, node: Node, where: str, problems: ProblemCollector) -> float | None:
        """Return the amount."""
        if is_unset(node):
            return None
        advice = ""
        if kind_of(node) in {"str", "int", "float"}:
            if re.fullmatch(self.pattern, node.value):
                try:
                    return self.parse(node.value)
                except ValueError as error:
                    advice = f"; {error}"
            else:
                advice = self.hint(node.value)
        problems.add(node, f"{where}: expected {self.expected}, got {shown(node)}{advice}")
        return None

    def schema(self) -> Schema:
        """Return the amount as a number, as text, or nothing."""
        kinds = [self.number["type"], "string", "null"]
        return {**self.number, "type": kinds, "pattern": f"^({self.pattern})?$"}


MEMORY = Amount(
    quantities.MEMORY_PATTERN,
    "an amount such as 512Mi or 1G, or a number of bytes",
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
    "seconds or a duration such as 90s",
    quantities.seconds,
    {"type": "number", "exclusiveMinimum": 0},
)
AT_LEAST_ONE = Amount(
    r"(?!0+(\.|$))" + quantities.WHOLE_PATTERN,
    "a whole number, 1 or more",
    quantities.whole,
    {"type": "integer", "minimum": 1},
)
_OFF = "; to stop a function, run `dcf-cli function scale NAME 0`"

MINIMUM = Amount(
    quantities.WHOLE_PATTERN,
    "a whole number, 0 or more",
    quantities.replicas,
    {"type": "integer", "minimum": 0, "maximum": MAX_REPLICAS},
)
MAXIMUM = Amount(
    AT_LEAST_ONE.pattern,
    AT_LEAST_ONE.expected,
    quantities.replicas,
    {"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS},
    lambda text: _OFF if re.fullmatch(quantities.WHOLE_PATTERN, text) else "",
)
TARGET = Amount(
    quantities.NUMBER_PATTERN,
    "a number of calls above 0",
    quantities.target,
    {"type": "number", "minimum": MIN_TARGET, "maximum": MAX_TARGET},
)
IDLE = Amount(
    DURATION.pattern,
    DURATION.expected,
    quantities.idle,
    {"type": "number", "minimum": MIN_IDLE, "maximum": MAX_IDLE},
)
NOT_NEGATIVE = Amount(
    quantities.WHOLE_PATTERN,
    "a whole number, 0 or more",
    quantities.whole,
    {"type": "integer", "minimum": 0},
)
