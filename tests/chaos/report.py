"""Formats the result of a run for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chaos.judge import Finding
from chaos.run import Result

MOST_VIOLATIONS = 20
"""Number of violations to print; the file has all of them."""


def report(result: Result, seconds: float) -> Iterator[str]:
    """Yield the lines to print: figures if there was no violation, else the details for an
    investigation."""
    yield from _figures(result)
    if not result.violations:
        return
    yield ""
    yield from result.actions
    yield ""
    yield f"{len(result.violations)} violations:"
    yield from result.violations[:MOST_VIOLATIONS]
    file = result.folder / "chaos.txt"
    file.write_text("\n".join([*result.actions, "", *result.violations, ""]))
    logs = result.folder / "data" / "gateway" / "supervisor" / "logs"
    yield ""
    yield f"again: make chaos SEED={result.seed} SECONDS={seconds:g}"
    yield f"this: {file}"
    yield f"logs: {result.folder / 'gateway.log'}, {logs}"


def _figures(result: Result) -> Iterator[str]:
    kinds: dict[str, Counter[str]] = {}
    causes: Counter[str] = Counter()
    for (kind, finding, why), number in result.calls.items():
        kinds.setdefault(kind, Counter())[finding] += number
        if finding is Finding.ALLOWED:
            causes[why] += number
    for kind, counts in sorted(kinds.items()):
        parts = (f"{counts[finding]} {finding}" for finding in Finding if counts[finding])
        slowest = result.slowest.get(kind, 0.0)
        yield f"{kind:24}{', '.join(parts)}, the slowest {slowest:.1f} s"
    for why, number in causes.most_common():
        yield f"{'':4}{number} allowed: {why}"
    for name, most in sorted(result.most.items()):
        yield f"{name:24}{most / 1024**2:.0f} MiB at most"
    for kind, times in result.kills.items():
        if times:
            yield f"{kind:24}{len(times)} times away, at most {max(times):.2f} s"
    yield f"{len(result.actions)} actions"
