"""Helpers that properties of parsers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

Value = TypeVar("Value")
Error = TypeVar("Error", bound=Exception)

PLACES = st.lists(st.integers(0, 1 << 16), max_size=8)
"""Positions where bytes are cut; see :func:`cut`."""


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut ``data`` into pieces, some of which may be empty; equal positions give equal pieces."""
    cuts = sorted(place % (len(data) + 1) for place in places)
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def attempt(kind: type[Error], work: Callable[[], Value]) -> tuple[Value | None, Error | None]:
    """Return the result of a function, or its error of the single kind that it may raise."""
    try:
        return work(), None
    except kind as error:
        return None, error
