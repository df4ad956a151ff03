"""Amounts as people write them in config.yaml, and what they come to."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from dcf.model.scaling import LEAST_IDLE, LEAST_TARGET, LONGEST_IDLE, MOST_REPLICAS, MOST_TARGET

_DIGITS = "[0-9]{1,18}"
"""Enough for every amount there is, and too few to make the arithmetic slow."""
_DECIMAL = rf"({_DIGITS}(\.[0-9]{{0,18}})?|\.{_DIGITS})"
_POSITIVE = "(?=[0.]*[1-9])"

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_POWERS_OF_TEN = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_MEMORY_UNITS = {"": 1} | _BINARY | _POWERS_OF_TEN
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

MEMORY_PATTERN = rf"{_POSITIVE}{_DECIMAL}({'|'.join(_MEMORY_UNITS)}|[eE][+]?[0-9]{{1,2}})"
"""A Kubernetes quantity (kubernetes.io, Quantity) from one byte up."""
CPU_PATTERN = rf"{_POSITIVE}({_DIGITS}m|{_DECIMAL})"
"""A Kubernetes quantity in cores or thousandths of one."""
NUMBER_PATTERN = _POSITIVE + _DECIMAL
"""A number above 0."""
WHOLE_PATTERN = r"[0-9]{1,9}(\.0+)?"
"""A whole number; ``1.0`` is one to JSON Schema, and so it is here."""
DURATION_PATTERN = rf"{_POSITIVE}{_DECIMAL}({'|'.join(_SECONDS)})"
"""Seconds, or an amount with its unit."""

LARGEST_MEMORY = 2**63 - 1
"""Bytes; what Kubernetes can write down."""


def memory(text: str) -> int:
    """The bytes that ``text`` comes to, rounded up.

    Args:
        text: Matches :data:`MEMORY_PATTERN`.

    Raises:
        ValueError: When it is more than :data:`LARGEST_MEMORY`.
    """
    unit = text.lstrip("0123456789.")
    if unit[:1] in {"e", "E"} and unit != "E" and unit not in _BINARY:
        amount = Decimal(text)
    else:
        amount = Decimal(text.removesuffix(unit)) * _MEMORY_UNITS[unit]
    if amount > LARGEST_MEMORY:
        raise ValueError("no machine has that much")
    return math.ceil(amount)


def cpu(text: str) -> float:
    """The cores that ``text``, which matches :data:`CPU_PATTERN`, comes to."""
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def whole(text: str) -> int:
    """The number that ``text``, which matches :data:`WHOLE_PATTERN`, comes to."""
    return int(text.partition(".")[0])


def seconds(text: str) -> float:
    """The seconds that ``text``, which matches :data:`DURATION_PATTERN`, comes to."""
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * _SECONDS[unit]


def replicas(text: str) -> int:
    """The number of replicas that ``text``, which matches :data:`WHOLE_PATTERN`, comes to.

    Raises:
        ValueError: When it is more than ``MOST_REPLICAS``.
    """
    number = whole(text)
    if number > MOST_REPLICAS:
        raise ValueError(f"{MOST_REPLICAS} are the most")
    return number


def target(text: str) -> float:
    """The calls that ``text``, which matches :data:`NUMBER_PATTERN`, comes to.

    Raises:
        ValueError: When they are out of bounds.
    """
    calls = float(text)
    if not LEAST_TARGET <= calls <= MOST_TARGET:
        raise ValueError(f"{LEAST_TARGET:g} is the least, {MOST_TARGET:g} the most")
    return calls


def idle(text: str) -> float:
    """The seconds that ``text``, which matches :data:`DURATION_PATTERN`, comes to.

    Raises:
        ValueError: When they are out of bounds.
    """
    found = seconds(text)
    if not LEAST_IDLE <= found <= LONGEST_IDLE:
        raise ValueError(f"{LEAST_IDLE:g} s is the least, {LONGEST_IDLE / 3600:g}h the most")
    return found


def memory_hint(text: str) -> str:
    """How ``text`` would be written if a habit from elsewhere led to it; "" when none did."""
    match = re.fullmatch(r"([0-9.]+) ?([a-zA-Z]+)", text)
    if not match:
        return ""
    amount, unit = match.groups()
    if unit == "m":
        return f": 'm' is a thousandth in Kubernetes; write {amount}Mi or {amount}M"
    plain = unit.lower().removesuffix("b").removesuffix("i")
    near = [known for known in _BINARY | _POWERS_OF_TEN if known.lower().removesuffix("i") == plain]
    return f": write {' or '.join(amount + known for known in near)}" if near else ""
