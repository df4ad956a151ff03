"""What uv's last lines mean.

uv ends with 1 or 2 and a text for people; what happened can only be read from that text. The
wording is that of uv 0.5.3 to 0.13.9. What is not recognised is told in uv's own words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dcf.builder.runtime_wheel import RUNTIME_NAME
from dcf.errors import (
    BuildError,
    DcfError,
    IndexUnreachable,
    InstallFailed,
    PackageNotFound,
    RequirementsInvalid,
    VersionConflict,
)
from dcf.files.storage import full

TAIL = 60
"""Lines of the output that an error carries: a traceback of a failed build fits."""

_WATCHER = f"the watcher ({RUNTIME_NAME})"

_BEGIN = re.compile(r"\s*\u00d7|error: ")
_GLYPHS = re.compile(r"^\s*(?:\u00d7|│|[╰├]─▶|error:|cause:|Caused by:)?\s*")
_NO_SPACE = re.compile(r"os error (?:28|122)\b|No space left on device|Disk quota exceeded")
_UNREACHABLE = re.compile(
    r"network was disabled|[Nn]etwork connectivity is disabled|error sending request"
    r"|tcp connect error|dns error|Could not connect|timed out|HTTP status server error"
)
_PARSING = re.compile(
    r"Couldn't parse|Failed to parse|Expected .*, found|Distribution not found at"
)
_INSTALLING = re.compile(
    r"[Bb]uild backend|Hash mismatch|Failed to (?:build|download|install|fetch|prepare|read)"
)

_PROJECT = rf"{RUNTIME_NAME}==[^\s,]+"
_REWRITES = (
    (rf"only {_PROJECT} is available and ", ""),
    (rf"And because only {_PROJECT} is available, we can conclude that .*?\. (?=And)", ""),
    (rf"{_PROJECT} depends on", f"{_WATCHER} needs"),
    (rf"all versions of {RUNTIME_NAME} depend on", f"{_WATCHER} needs"),
    (rf"you require {RUNTIME_NAME} and ", "you require "),
    (rf" and {RUNTIME_NAME}(?=,)", ""),
    (r"Because ([^.]*? needs [^,]*), we can conclude that \1\. And because ", r"Because \1 and "),
    (r"you require", "requirements.txt asks for"),
    (r"we can conclude that ", ""),
    (r"your requirements are unsatisfiable", "no versions fit them all"),
)
"""The project that stands for the watcher in a resolution is told of in the watcher's name, once;
the rest makes uv's proof a sentence."""


def explain(lines: Sequence[str], folder: Path) -> DcfError:
    """The error that uv's output tells of.

    Args:
        lines: The output, without secrets.
        folder: Where uv ran, to which the files that it names are relative.
    """
    output = "\n".join(lines[-TAIL:])
    told = _error_lines(lines)
    text = " ".join(told)
    if _NO_SPACE.search(text):
        return full(_full_place(told))
    if "No solution found" in text:
        return _unsolved(text, output)
    if _PARSING.search(text):
        return RequirementsInvalid(_located(told, folder), output)
    if _UNREACHABLE.search(text):
        return IndexUnreachable(_unreachable(told), output)
    if _INSTALLING.search(text):
        return InstallFailed(_failed(told), output)
    return BuildError(text or "uv failed and said nothing", output)


def _error_lines(lines: Sequence[str]) -> list[str]:
    """The lines from the error on, without uv's drawing."""
    begin = next((number for number, line in enumerate(lines) if _BEGIN.match(line)), 0)
    return [line for line in (_GLYPHS.sub("", raw).rstrip() for raw in lines[begin:]) if line]


def _unsolved(text: str, output: str) -> BuildError:
    proof, *hints = re.split(r"\s*hint: ", text.partition("Because")[2])
    proof = "Because" + proof
    hint = " ".join(hints)
    if "not found in the cache" in proof or "network was disabled" in hint:
        missing = re.search(r"(\S+) was not found in the cache", proof)
        name = missing.group(1) if missing else "what is needed"
        return IndexUnreachable(f"{name} is not in the cache, and no index could be asked", output)
    said = f" ({hint})" if hint else ""
    unknown = re.search(
        r"(\S+) was not found in the (?:package registry|provided package locations)", proof
    )
    if unknown:
        return PackageNotFound(f"no index has a package named {unknown.group(1)}{said}", output)
    missing = re.match(r"Because there is no version of (\S+) and you require (\S+?),", proof)
    if missing and missing.group(1) == missing.group(2):
        return PackageNotFound(f"no index has {missing.group(1)}{said}", output)
    for pattern, replacement in _REWRITES:
        proof = re.sub(pattern, replacement, proof)
    return VersionConflict(f"The requirements exclude one another: {proof}", output)


def _full_place(told: list[str]) -> str:
    """Return the path in the line that reports the full disk, or in the nearest line before it."""
    last = next(number for number, line in enumerate(told) if _NO_SPACE.search(line))
    for line in reversed(told[: last + 1]):
        if place := re.search(r"[`'\"](/[^`'\"]+)[`'\"]", line):
            return place.group(1)
    return "the environment, uv's cache (UV_CACHE_DIR) or the temporary folder (TMPDIR)"


def _located(told: list[str], folder: Path) -> str:
    """A parse error with its line: uv counts characters."""
    found = re.search(r"in `([^`]+)` at position (\d+)", told[0])
    if found is None:
        return ": ".join(told[:2])
    name, position = found.group(1), int(found.group(2))
    try:
        line = (folder / name).read_bytes()[:position].count(b"\n") + 1
    except OSError:
        return ": ".join(told[:2])
    return f"{name}, line {line}: {' '.join(told[1:3])}"


def _unreachable(told: list[str]) -> str:
    text = " ".join(told)
    if "connectivity is disabled" in text:
        return f"{told[0]}: it is not in the cache, and no index could be asked"
    url = re.search(r"https?://[^\s`)]+", text)
    where = f" at {url.group()}" if url else ""
    return f"the package index{where} did not answer: {told[-1]}"


def _failed(told: list[str]) -> str:
    """The headline, its causes, and the line of the build's own output that says most."""
    quoted = next((n for n, line in enumerate(told) if re.match(r"\[std(err|out)\]", line)), None)
    if quoted is None:
        return ": ".join(line.rstrip(":") for line in told)
    block = [line for line in told[quoted + 1 :] if not line.startswith("hint:")]
    errors = [line for line in block if re.search(r"\b\w*([Ee]rror|Exception)\b: ", line)]
    last = (errors or block or [""])[-1]
    return ": ".join([*told[:quoted], last])
