"""Suggests known names for an unknown name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from heapq import nlargest

LIKENESS = 0.6
"""Minimum similarity of a suggestion, from 0 to 1 (``difflib.SequenceMatcher.ratio``)."""

LONGEST = 63
"""Number of characters that are compared, so that a very long name costs no time."""


def nearest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """Return the known names that resemble ``name``, best first.

    Args:
        name: The unknown name, as the user wrote it.
        names: The known names.
        limit: Maximum number of suggestions.
    """
    unknown = name[:LONGEST].lower().replace("_", "-")
    matcher = SequenceMatcher(a="", b=unknown, autojunk=False)
    matches = []
    for known in names:
        if unknown and known.startswith(unknown):
            matches.append((1.0, known))
            continue
        matcher.set_seq1(known)
        # The first two are upper bounds of the third, and far cheaper.
        if matcher.real_quick_ratio() < LIKENESS or matcher.quick_ratio() < LIKENESS:
            continue
        ratio = matcher.ratio()
        if ratio >= LIKENESS:
            matches.append((ratio, known))
    best = nlargest(limit, matches, key=lambda match: match[0])
    return [known for _, known in best]
