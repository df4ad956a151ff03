"""Parses untrusted JSON with a single kind of error."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def read_json(text: str | bytes) -> Any:
    """Parse one untrusted JSON value.

    Raises:
        ValueError: If the text is not valid JSON or UTF-8, is nested too deeply, or has a number
            that is not finite or has too many digits.
    """
    try:
        return json.loads(text, parse_constant=_reject, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def _reject(name: str) -> NoReturn:
    raise ValueError(f"expected a finite number, got {name}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {text:.40}")
    return number
