"""Parses amounts in config.yaml."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from dcf.model.scaling import MAX_IDLE, MAX_REPLICAS, MAX_TARGET, MIN_IDLE, MIN_TARGET

_DIGITS = "[0-9]{1,18}"
"""Enough digits for every real amount, and few enough to keep the arithmetic fast."""
_DECIMAL = rf"({_DIGITS}(\.[0-9]{{0,18}})?|\.{_DIGITS})"
_POSITIVE = "(?=[0.]*[1-9])"

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_POWERS_OF_TEN = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_MEMORY_UNITS = {"": 1} | _BINARY | _POWERS_OF_TEN
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

MEMORY_PATTERN = rf"{_POSITIVE}{_DECIMAL}({'|'.join(_MEMORY_UNITS)}|[eE][+]?[0-9]{{1,2}})"
"""A Kubernetes quantity (kubernetes.io, Quantity) from one byte up."""
CPU_PATTERN = rf"{_POSITIVE}({_DIGITS}m|{_DECIMAL})"
"""A Kubernetes quantity in cores or thousandths of a core."""
NUMBER_PATTERN = _POSITIVE + _DECIMAL
"""A number above 0."""
WHOLE_PATTERN = r"[0-9]{1,9}(\.0+)?"
"""A whole number. ``1.0`` is allowed, as in JSON Schema."""
DURATION_PATTERN = rf"{_POSITIVE}{_DECIMAL}({'|'.join(_SECONDS)})"
"""Seconds, or an amount with its unit."""

LARGEST_MEMORY = 2**63 - 1
"""Maximum in bytes: what a Kubernetes quantity can hold."""


def memory(text: str) -> int:
    """Return the number of bytes, rounded up.

    Args:
        text: Matches :data:`MEMORY_PATTERN`.

    Raises:
        ValueError: If it is more than :data:`LARGEST_MEMORY`.
    """
    unit = text.lstrip("0123456789.")
    if unit[:1] in {"e", "E"} and unit != "E" and unit not in _BINARY:
        amount = Decimal(text)
    else:
        amount = Decimal(text.removesuffix(unit)) * _MEMORY_UNITS[unit]
    if amount > LARGEST_MEMORY:
        raise ValueError(f"the maximum is {LARGEST_MEMORY} bytes")
    return math.ceil(amount)


def cpu(text: str) -> float:
    """Return the number of cores. ``text`` must match :data:`CPU_PATTERN`."""
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def whole(text: str) -> int:
    """Return the number. ``text`` must match :data:`WHOLE_PATTERN`."""
    return int(text.partition(".")[0])


def seconds(text: str) -> float:
    """Return the number of seconds. ``text`` must match :data:`DURATION_PATTERN`."""
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * _SECONDS[unit]


def replicas(text: str) -> int:
    """Return the number of replicas. ``text`` must match :data:`WHOLE_PATTERN`.

    Raises:
        ValueError: If it is more than ``MAX_REPLICAS``.
    """
    number = whole(text)
    if number > MAX_REPLICAS:
        raise ValueError(f"the maximum is {MAX_REPLICAS}")
    return number


def target(text: str) -> float:
    """Return the number of calls. ``text`` must match :data:`NUMBER_PATTERN`.

    Raises:
        ValueError: If it is out of range.
    """
    calls = float(text)
    if not MIN_TARGET <= calls <= MAX_TARGET:
        raise ValueError(f"the range is {MIN_TARGET:g} to {MAX_TARGET:g}")
    return calls


def idle(text: str) -> float:
    """Return the number of seconds. ``text`` must match :data:`DURATION_PATTERN`.

    Raises:
        ValueError: If it is out of range.
    """
    duration = seconds(text)
    if not MIN_IDLE <= duration <= MAX_IDLE:
        raise ValueError(f"the range is {MIN_IDLE:g}s to {MAX_IDLE / 3600:g}h")
    return duration


def memory_hint(text: str) -> str:
    """Return advice for an amount in another notation, or ""."""
    match = re.fullmatch(r"([0-9.]+) ?([a-zA-Z]+)", text)
    if not match:
        return ""
    amount, unit = match.groups()
    if unit == "m":
        return f"; in Kubernetes 'm' means a thousandth, write {amount}Mi or {amount}M"
    plain = unit.lower().removesuffix("b").removesuffix("i")
    near = [known for known in _BINARY | _POWERS_OF_TEN if known.lower().removesuffix("i") == plain]
    return f"; write {' or '.join(amount + known for known in near)}" if near else ""
