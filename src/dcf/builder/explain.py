"""Turns uv's last lines into an error.

uv exits with 1 or 2 and a text for people, so the cause can only be read from that text. The
patterns fit the wording of uv 0.5.3 to 0.13.9. An unknown text is passed on in uv's own words.
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
"""Lines of output that an error carries: enough for the traceback of a failed build."""

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
    (r"you require", "requirements.txt requires"),
    (r"we can conclude that ", ""),
    (r"your requirements are unsatisfiable", "no versions satisfy all of them"),
)
"""In a resolution a project stands for the watcher. The first patterns replace it by the watcher's
name; the last ones make uv's proof a sentence."""


def explain(lines: Sequence[str], folder: Path) -> DcfError:
    """Return the error that uv's output describes.

    Args:
        lines: The output, without secrets.
        folder: uv's working directory. The file names in the output are relative to it.
    """
    output = "\n".join(lines[-TAIL:])
    error_lines = _error_lines(lines)
    text = " ".join(error_lines)
    if _NO_SPACE.search(text):
        return full(_full_place(error_lines))
    if "No solution found" in text:
        return _unsolved(text, output)
    if _PARSING.search(text):
        return RequirementsInvalid(_located(error_lines, folder), output)
    if _UNREACHABLE.search(text):
        return IndexUnreachable(_unreachable(error_lines), output)
    if _INSTALLING.search(text):
        return InstallFailed(_failed(error_lines), output)
    return BuildError(text or "expected uv to succeed, got a failure without output", output)


def _error_lines(lines: Sequence[str]) -> list[str]:
    """Return the lines from the error on, without uv's box-drawing characters."""
    begin = next((number for number, line in enumerate(lines) if _BEGIN.match(line)), 0)
    return [line for line in (_GLYPHS.sub("", raw).rstrip() for raw in lines[begin:]) if line]


def _unsolved(text: str, output: str) -> BuildError:
    proof, *hints = re.split(r"\s*hint: ", text.partition("Because")[2])
    proof = "Because" + proof
    hint = " ".join(hints)
    if "not found in the cache" in proof or "network was disabled" in hint:
        missing = re.search(r"(\S+) was not found in the cache", proof)
        name = missing.group(1) if missing else "all packages"
        return IndexUnreachable(_not_cached(name), output)
    suffix = f" ({hint})" if hint else ""
    unknown = re.search(
        r"(\S+) was not found in the (?:package registry|provided package locations)", proof
    )
    if unknown:
        name = unknown.group(1)
        return PackageNotFound(
            f"expected an index with a package named {name}, got none{suffix}", output
        )
    missing = re.match(r"Because there is no version of (\S+) and you require (\S+?),", proof)
    if missing and missing.group(1) == missing.group(2):
        name = missing.group(1)
        return PackageNotFound(f"expected an index with {name}, got none{suffix}", output)
    for pattern, replacement in _REWRITES:
        proof = re.sub(pattern, replacement, proof)
    return VersionConflict(
        f"expected requirements that some versions satisfy, got a conflict: {proof}", output
    )


def _not_cached(subject: str) -> str:
    return f"expected {subject} in the cache, got nothing; no index could be reached"


def _full_place(error_lines: list[str]) -> str:
    """Return the path in the line that reports the full disk, or in the nearest line before it."""
    last = next(number for number, line in enumerate(error_lines) if _NO_SPACE.search(line))
    for line in reversed(error_lines[: last + 1]):
        if place := re.search(r"[`'\"](/[^`'\"]+)[`'\"]", line):
            return place.group(1)
    return "the environment, uv's cache (UV_CACHE_DIR) or the temporary folder (TMPDIR)"


def _located(error_lines: list[str], folder: Path) -> str:
    """Return a parse error with its line number: uv reports a position in characters."""
    match = re.search(r"in `([^`]+)` at position (\d+)", error_lines[0])
    if match is None:
        return ": ".join(error_lines[:2])
    name, position = match.group(1), int(match.group(2))
    try:
        line = (folder / name).read_bytes()[:position].count(b"\n") + 1
    except OSError:
        return ": ".join(error_lines[:2])
    return f"{name}, line {line}: {' '.join(error_lines[1:3])}"


def _unreachable(error_lines: list[str]) -> str:
    text = " ".join(error_lines)
    if "connectivity is disabled" in text:
        return f"{error_lines[0]}: {_not_cached('it')}"
    url = re.search(r"https?://[^\s`)]+", text)
    index = f"the package index at {url.group()}" if url else "the package index"
    return f"expected an answer from {index}, got none: {error_lines[-1]}"


def _failed(error_lines: list[str]) -> str:
    """Return the headline, its causes, and the most telling line of the package's build."""
    quoted = next(
        (number for number, line in enumerate(error_lines) if re.match(r"\[std(err|out)\]", line)),
        None,
    )
    if quoted is None:
        return ": ".join(line.rstrip(":") for line in error_lines)
    block = [line for line in error_lines[quoted + 1 :] if not line.startswith("hint:")]
    errors = [line for line in block if re.search(r"\b\w*([Ee]rror|Exception)\b: ", line)]
    last = (errors or block or [""])[-1]
    return ": ".join([*error_lines[:quoted], last])
