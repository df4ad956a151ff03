"""Names that resemble one that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from heapq import nlargest

LIKENESS = 0.6
"""Share of characters in common, from 0 to 1, below which two names are strangers."""

LONGEST = 63
"""Characters of the longest name; what is longer is not looked at, however long a caller makes
it."""


def nearest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The known names that resemble ``name``, best first.

    Args:
        name: What was asked for, as it came.
        names: What there is.
        limit: At most this many.
    """
    asked = name[:LONGEST].lower().replace("_", "-")
    matcher = SequenceMatcher(a="", b=asked, autojunk=False)
    found = []
    for known in names:
        if asked and known.startswith(asked):
            found.append((1.0, known))
            continue
        matcher.set_seq1(known)
        # The first two are bounds from above, and far cheaper than the third.
        if matcher.real_quick_ratio() < LIKENESS or matcher.quick_ratio() < LIKENESS:
            continue
        ratio = matcher.ratio()
        if ratio >= LIKENESS:
            found.append((ratio, known))
    best = nlargest(limit, found, key=lambda one: one[0])
    return [known for _, known in best]
