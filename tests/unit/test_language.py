"""Phrases that must not come back, in the code and in the documents.

A pattern is a regular expression. A space in it stands for any white space, with the marks of a
comment, so that a phrase is also found where a line breaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = {".py", ".lua", ".in", ".md", ".proto"}

PHRASES = {
    # A noun or a plain verb exists.
    r"\bwhoever\b": "the caller, the client, the user",
    r"\b(?:is|are|was|were) wanted\b": "expected, required",
    r"\b(?:is|are) to be\b": "must be",
    r"\bto be had\b": "available",
    r"\blikewise\b": "also; or say it again",
    r"\bof late\b": "recently",
    r"\bnought\b": "zero, 0",
    r"\bthereof\b": "of it",
    r"(?<!\bone)(?<!\beach)(?<!\bsome)(?<!\bmost)(?<!\ball)(?<!\bboth) of which\b": "two sentences",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\berrands?\b": "task, request",
    r"(?<!there) is no (?!longer\b|more than\b)": "is not a",
    r"(?<!there) (?:is|are) (?-i:none)\b(?! of)": "is not one, does not exist",
    r"\bmistake is told\b": "is reported",
    r"\btells? (?:all about|how many|of it|about it)\b": "shows, reports",
    r"\bit is looked\b(?! up)": "the gateway counts, checks",
    r"\bwhat was said before\b": "the previous value",
    r"\bhas mistyped\b": "rejected as a typo",
    r"\btaken for meant\b": "plausible",
    r"\bis worth as much as\b": "treat it like",
    r"\bto be passed over\b": "ignore",
    r"\bgoes with your last login\b": "logging out stops it",
    # What was, and what is still there.
    r"\b(?:one|revision|version|replica|replicas|state) before\b(?=[.,;:)`\n]| (?:answer|go|serve|the new))": (
        "the previous one"
    ),
    r"\bgo(?:es)? on (?:answering|serving|taking|working)\b": "keeps serving, continues",
    r"\bstarts? again what\b": "restarts any that exit",
    r"\b(?:lets? nobody in|nobody has gone|while nobody|where nobody|nobody waits (?:any|for))\b": (
        "name who or what: a function is idle, a caller has stopped waiting"
    ),
    r"\bNone answering\b": "if no replica passes its health check",
    r"\bthe first word counts\b": "keep only the first result",
    r"\bwait for no disk\b": "a slow disk never delays calls",
    r"\bbears no\b": "must not be",
    r"\buntil one is there\b": "until one is ready",
    r"\bmatters? no more\b": "is removed, has no effect",
    # Questions and instructions.
    r"\bis \S+ meant\b": "did you mean X?",
    r"\bdoes not import\b": "could not be imported",
    r"\bsmall hexadecimal\b": "lowercase hex",
    r"\ba text without a zero character\b": "must not contain NUL",
    r"\bUse what is here\b": "use only what is cached",
    r"\bMake a key useless\b": "revoke",
    r"\bHave a canary take\b": "send all calls to the canary",
    r"\bShow how the gateway is\b": "show the gateway's status",
    r"\bWhether it lives\b": "liveness probe",
    r"\bWhat is here, and what comes\b": "status and roadmap",
    r"\bWhat to do about what\b": "for fixes, see",
    r"\bin other clothes\b": "the same call over another transport",
    r"(?:^|\"\"\"|[.:]\x20)(?-i:Who) (?:reads|calls|waits|changes)\b": "name the person or the client",
}
"""Each phrase with what to write instead."""

KOREAN = {
    r"디렉토리": "디렉터리",
    r"종료된 것": "종료된 프로세스",
    r"들여보내": "키가 있는 호출만 받습니다",
    r"되어지|되어집": "됩니다",
    r"(?:이다|한다|된다)\.(?:\s|$)": "합니다체",
}
"""The same for the Korean pages."""

ALLOWED: dict[tuple[str, str], str] = {}
"""File and line of a justified phrase, with the reason."""

COMPILED = {
    phrase: re.compile(phrase.replace(" ", r"[\s#>*]+"), re.IGNORECASE | re.MULTILINE)
    for phrase in PHRASES
}


def rooms() -> Iterator[Path]:
    """The documents and the rooms of the code, each of which is one test."""
    yield from (path for path in sorted(ROOT.glob("*.md")) if path.name != "README.ko.md")
    yield from (path for path in sorted((ROOT / "docs").iterdir()) if path.name != "ko")
    source = (ROOT / "src" / "dcf").iterdir()
    yield from (path for path in sorted(source) if path.name != "__pycache__")


def files(room: Path) -> Iterator[Path]:
    for path in [room] if room.is_file() else sorted(room.rglob("*")):
        if path.suffix in TEXTS and path.is_file():
            yield path


@pytest.mark.parametrize("room", list(rooms()), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_phrase_comes_back(room: Path) -> None:
    found = []
    for path in files(room):
        text = path.read_text("utf-8")
        name = str(path.relative_to(ROOT))
        for phrase, pattern in COMPILED.items():
            for match in pattern.finditer(text):
                number = text.count("\n", 0, match.start()) + 1
                line = text.splitlines()[number - 1].strip()
                if (name, line) not in ALLOWED:
                    found.append(f"{name}:{number}: {line[:90]} -> {PHRASES[phrase]}")

    assert found == []


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.ko.md", *sorted((ROOT / "docs" / "ko").rglob("*.md"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_korean_phrase_comes_back(page: Path) -> None:
    text = page.read_text("utf-8")
    found = {
        match.group(): better
        for phrase, better in KOREAN.items()
        for match in re.finditer(phrase, text)
    }

    assert found == {}


def test_every_allowed_line_is_still_there() -> None:
    for (name, line), reason in ALLOWED.items():
        lines = (ROOT / name).read_text("utf-8").splitlines()
        assert line in [one.strip() for one in lines], name
        assert reason


def test_a_phrase_is_found_across_lines_and_in_comments() -> None:
    pattern = COMPILED[r"\b(?:is|are|was|were) wanted\b"]

    assert pattern.search("# as many as are\n    # wanted here")
    assert not pattern.search("the wanted state")
