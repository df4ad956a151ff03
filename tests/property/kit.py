"""Strategies that several properties share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

PLACES = st.lists(st.integers(0, 1 << 16), max_size=8)
"""Positions where bytes are split; see :func:`split`."""

TEXTS = st.text(max_size=20) | st.sampled_from(["\ud800", "a\udcff", "\0", "\n", "a\x85"])
"""Any text, including lone surrogates: JSON can contain them."""

NUMBERS = (
    st.integers()
    | st.integers(0, 10**400)
    | st.floats()
    | st.sampled_from([10**400, -(10**400), float("inf"), float("-inf"), float("nan")])
)

JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
"""Every value that ``json.loads`` may return."""

FINITE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
"""JSON as its standard defines it, without infinities (RFC 8259, 6)."""

DEEP = st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b"[" * 5_000 + b"]" * 5_000])
"""JSON that is nested too deeply to be parsed."""


def split(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Split ``data`` into pieces, some of which may be empty; equal positions give equal pieces."""
    cuts = sorted(place % (len(data) + 1) for place in places)
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def members(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with some of ``fields``, each valid or of any other value."""
    either = {name: field | JSON for name, field in fields.items()}
    return st.fixed_dictionaries({}, optional=either)
