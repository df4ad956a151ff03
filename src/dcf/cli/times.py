"""Times, for people."""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(at: float) -> str:
    """Format seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age_text(seconds: float) -> str:
    """Format a time span in its largest unit: ``42 s``, ``3 min``, ``5 h``, ``12 d``."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{max(0, int(seconds)) // size} {unit}"
    return f"{int(seconds) // 86_400} d"
