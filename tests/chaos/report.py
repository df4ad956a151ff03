"""What a run came to, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chaos.judge import Finding
from chaos.run import Result

MOST_VIOLATIONS = 20
"""That are printed; the file has them all."""


def report(result: Result, seconds: float) -> Iterator[str]:
    """The lines to print: figures where all was well, else what must be known to look into it."""
    yield from _figures(result)
    if not result.violations:
        return
    yield ""
    yield from result.deeds
    yield ""
    yield f"{len(result.violations)} violations:"
    yield from result.violations[:MOST_VIOLATIONS]
    file = result.folder / "chaos.txt"
    file.write_text("\n".join([*result.deeds, "", *result.violations, ""]))
    logs = result.folder / "data" / "gateway" / "supervisor" / "logs"
    yield ""
    yield f"again: make chaos SEED={result.seed} SECONDS={seconds:g}"
    yield f"this: {file}"
    yield f"logs: {result.folder / 'gateway.log'}, {logs}"


def _figures(result: Result) -> Iterator[str]:
    ways: dict[str, Counter[str]] = {}
    causes: Counter[str] = Counter()
    for (way, finding, why), number in result.calls.items():
        ways.setdefault(way, Counter())[finding] += number
        if finding is Finding.ALLOWED:
            causes[why] += number
    for way, found in sorted(ways.items()):
        told = (f"{found[finding]} {finding}" for finding in Finding if found[finding])
        slowest = result.slowest.get(way, 0.0)
        yield f"{way:24}{', '.join(told)}, the slowest {slowest:.1f} s"
    for why, number in causes.most_common():
        yield f"{'':4}{number} allowed: {why}"
    for name, most in sorted(result.most.items()):
        yield f"{name:24}{most / 1024**2:.0f} MiB at the most"
    for kind, times in result.kills.items():
        if times:
            yield f"{kind:24}{len(times)} times away, at the most {max(times):.2f} s"
    yield f"{len(result.deeds)} deeds"
