"""Checks the grammar of a requirements.txt: one requirement or one option on each line.

uv reads the file itself, and some options reach its command line. So this module checks every line
first. It rejects a line that is neither a requirement nor a known option, and a value that uv could
take for an option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto


class LineKind(Enum):
    """What an option sets."""

    INCLUDE = auto()
    CONSTRAINTS = auto()
    EDITABLE = auto()
    FIND_LINKS = auto()
    INDEX = auto()
    NO_INDEX = auto()
    BUILD = auto()
    PRERELEASE = auto()
    TRUSTED_HOST = auto()
    NO_EFFECT = auto()
    """pip supports it. uv, which reads the file, ignores it."""


_OPTIONS = {
    "-r": LineKind.INCLUDE,
    "--requirement": LineKind.INCLUDE,
    "-c": LineKind.CONSTRAINTS,
    "--constraint": LineKind.CONSTRAINTS,
    "-e": LineKind.EDITABLE,
    "--editable": LineKind.EDITABLE,
    "-f": LineKind.FIND_LINKS,
    "--find-links": LineKind.FIND_LINKS,
    "-i": LineKind.INDEX,
    "--index-url": LineKind.INDEX,
    "--extra-index-url": LineKind.INDEX,
    "--no-index": LineKind.NO_INDEX,
    "--no-binary": LineKind.BUILD,
    "--only-binary": LineKind.BUILD,
    "--pre": LineKind.PRERELEASE,
    "--trusted-host": LineKind.TRUSTED_HOST,
    "--prefer-binary": LineKind.NO_EFFECT,
    "--require-hashes": LineKind.NO_EFFECT,
}
_WITHOUT_VALUE = frozenset({LineKind.NO_INDEX, LineKind.PRERELEASE, LineKind.NO_EFFECT})
_ONE_WORD = frozenset({LineKind.INDEX, LineKind.BUILD, LineKind.TRUSTED_HOST})
_MAY_HAVE_VARIABLES = frozenset({LineKind.INDEX, LineKind.FIND_LINKS, LineKind.EDITABLE})

_SHORT = re.compile(r"(-[a-zA-Z])(?:\s*=\s*|\s+|$)(.*)")
_LONG = re.compile(r"(--[a-z][-a-z]*)(?:\s*=\s*|\s+|$)(.*)")
_HASH = re.compile(r"--hash(?:\s*=\s*|\s+)[a-z0-9]+:[0-9a-fA-F]+")
_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9._]*[A-Za-z0-9])?")
_AFTER_NAME = re.compile(r"\s*(?:\[[-A-Za-z0-9._,\s]*\])?\s*(?:$|[(@;<>=!~,])")
_PACKAGES = re.compile(r":(all|none):|[A-Za-z0-9][-A-Za-z0-9._,]*")
_HOST = re.compile(r"(?:[A-Za-z0-9*][-A-Za-z0-9._*]*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?")
_URL_LIKE_OPTION = re.compile(r"://(?:[^/@\s]*@)?-|@-")
_FORBIDDEN = re.compile("[\0-\b\v-\x1f\x7f\x85\u2028\u2029]")
_COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True, slots=True)
class Option:
    """An option with its value.

    Attributes:
        kind: What it sets.
        value: May be "".
    """

    kind: LineKind
    value: str


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers, joined where they end in a backslash, without comments.

    Raises:
        LineInvalid: If pip and uv could split the text into lines differently.
    """
    joined, first = "", 0
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        first = first if joined else number
        if forbidden := _FORBIDDEN.search(raw):
            code = f"U+{ord(forbidden.group()):04X}"
            raise LineInvalid(number, f"expected text, got the control character {code}; delete it")
        line = raw.rstrip()
        if line.endswith("\\"):
            if _COMMENT.search(line):
                raise LineInvalid(
                    number,
                    "expected no backslash at the end of a comment, since pip and uv differ in what"
                    " the next line is then; delete the backslash or the comment",
                )
            joined += line[:-1] + " "
            continue
        if joined and _COMMENT.match(line):
            raise LineInvalid(
                number, "expected the rest of the previous line, got a comment; move the comment"
            )
        whole = _COMMENT.sub("", joined + line).strip()
        joined = ""
        if whole:
            yield first, whole
    if joined.strip():
        yield first, joined.strip()


class LineInvalid(Exception):
    """A line that breaks the grammar.

    Attributes:
        line: Its number; 0 if only the caller knows it.
        reason: What was expected, what was found, and what to do.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


def read_option(line: str) -> Option | None:
    """Return the option of a line; None for a requirement.

    Raises:
        LineInvalid: If the line begins like an option but is not a supported option, or its value
            is invalid.
    """
    if not line.startswith("-"):
        return None
    match = _LONG.fullmatch(line) or _SHORT.fullmatch(line)
    kind = _OPTIONS.get(match.group(1)) if match else None
    if match is None or kind is None:
        raise LineInvalid(0, _unknown(line))
    flag, value = match.group(1), match.group(2).strip()
    _check_value(kind, flag, value)
    return Option(kind, value)


def check_requirement(text: str) -> None:
    """Check that a text is one requirement, followed by nothing but hashes.

    Raises:
        LineInvalid: If it is not.
    """
    requirement, *options = re.split(r"\s+(?=-)", text)
    for option in options:
        if not _HASH.fullmatch(option):
            raise LineInvalid(
                0, f"expected only --hash=ALGORITHM:DIGEST after a requirement, got {option!r}"
            )
    if requirement.startswith("-"):
        raise LineInvalid(0, f"expected a requirement, got the option {requirement!r}")
    name = _NAME.match(requirement)
    rest = requirement[name.end() :] if name else ""
    is_named = name is not None and _AFTER_NAME.match(rest) is not None
    is_place = "/" in requirement or requirement[:1] in {".", "~"}
    is_file = name is not None and rest == "" and "." in requirement
    if not (is_named or is_place or is_file or requirement.startswith("file:")):
        raise LineInvalid(0, f"expected a requirement such as numpy>=2, got {requirement!r}")
    if "${" in requirement.partition("://" if "://" in requirement else "/")[0]:
        raise LineInvalid(
            0, f"expected variables in URLs only, got {requirement!r}; write its value"
        )
    _check_url(requirement)


def _check_value(kind: LineKind, flag: str, value: str) -> None:
    if kind in _WITHOUT_VALUE:
        if value:
            raise LineInvalid(0, f"expected nothing after {flag}, got {value!r}; {_ONE_A_LINE}")
        return
    if not value:
        raise LineInvalid(0, f"expected a value after {flag}, got nothing")
    if value.startswith("-") or re.search(r"\s-", value):
        raise LineInvalid(0, f"expected one value after {flag}, got {value!r}; {_ONE_A_LINE}")
    if kind in _ONE_WORD and re.search(r"\s", value):
        raise LineInvalid(0, f"expected no spaces in the value of {flag}, got {value!r}")
    if "${" in value and kind not in _MAY_HAVE_VARIABLES:
        raise LineInvalid(0, f"expected no variable in the value of {flag}, got {value!r}")
    if kind is LineKind.TRUSTED_HOST and not _HOST.fullmatch(value):
        raise LineInvalid(0, f"expected HOST or HOST:PORT after {flag}, got {value!r}")
    if kind is LineKind.BUILD and not _PACKAGES.fullmatch(value):
        raise LineInvalid(0, f"expected :all:, :none: or names after {flag}, got {value!r}")
    _check_url(value)


def _check_url(text: str) -> None:
    if _URL_LIKE_OPTION.search(text):
        raise LineInvalid(
            0, f"expected a host or a revision that does not begin with '-', got {text!r}"
        )


_ONE_A_LINE = "write each option on a line of its own"


def _unknown(line: str) -> str:
    flag = re.split(r"[\s=]", line, maxsplit=1)[0]
    near = get_close_matches(flag, _OPTIONS, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"expected a requirement or one of {', '.join(_OPTIONS)}, got {flag!r}{meant}; settings of"
        " uv belong in uv.toml or in UV_ variables"
    )
