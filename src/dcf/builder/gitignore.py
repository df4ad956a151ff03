r"""Matches paths against the patterns of ``.gitignore`` files exactly as git does.

Source: ``dir.c`` and ``wildmatch.c`` of git 2.39. Patterns and paths are bytes, as in git: ``?`` is
one byte, and a file need not be UTF-8. No line is an error. A line that git accepts but that cannot
match any path, such as ``build\``, matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_SPECIAL = re.compile(rb"[*?\[\\]")
_BOM = b"\xef\xbb\xbf"
_NEVER = rb"(?!)"
_SLASH = ord("/")
_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def _ascii(test: Callable[[bytes], bool]) -> frozenset[int]:
    return frozenset(code for code in range(128) if test(bytes([code])))


_CLASSES = {
    b"alnum": _ascii(bytes.isalnum),
    b"alpha": _ascii(bytes.isalpha),
    b"blank": frozenset(b" \t"),
    b"cntrl": frozenset({*range(32), 127}),
    b"digit": frozenset(b"0123456789"),
    b"graph": frozenset(range(33, 127)),
    b"lower": _ascii(bytes.islower),
    b"print": frozenset(range(32, 127)),
    b"punct": frozenset(_PUNCTUATION),
    b"space": frozenset(b" \t\n\r"),
    b"upper": _ascii(bytes.isupper),
    b"xdigit": frozenset(b"0123456789abcdefABCDEF"),
}
"""Git's own character classes, which do not depend on the locale."""


class Pattern:
    """One line of an ignore file.

    Attributes:
        index: Its position among the patterns; the last pattern that matches decides.
        takes_back: Whether it begins with ``!``.
        folders_only: Whether it ends with a slash.
        by_name: Whether it is compared with the last part of a path, not with the whole path.
        literal: The text that must be equal, if the pattern has no wildcards; otherwise None.
    """

    __slots__ = (
        "_compiled",
        "_source",
        "_suffix",
        "by_name",
        "folders_only",
        "index",
        "literal",
        "takes_back",
    )

    def __init__(self, index: int, text: bytes) -> None:
        """Read a pattern.

        Args:
            index: Its position.
            text: The line, without trailing spaces.
        """
        self.index = index
        self.takes_back = text.startswith(b"!")
        text = text.removeprefix(b"!")
        self.folders_only = text.endswith(b"/")
        text = text.removesuffix(b"/")
        self.by_name = b"/" not in text
        text = text.removeprefix(b"/")
        special = _SPECIAL.search(text)
        self.literal = text if special is None else None
        self._compiled: re.Pattern[bytes] | None = None
        self._source: bytes | None = None
        is_suffix = self.by_name and text.startswith(b"*") and not _SPECIAL.search(text, 1)
        self._suffix = text[1:] if is_suffix else None
        if special is not None and not is_suffix:
            # Git compares the text before the first wildcard, and matches the rest as a pattern of
            # its own.
            begin = 0 if self.by_name else special.start()
            rest = _translated(text[begin:])
            self._source = None if rest is None else re.escape(text[:begin]) + rest

    @property
    def can_match(self) -> bool:
        """Whether any path can match it."""
        return bool(self.literal) or self._suffix is not None or self._source is not None

    def matches(self, path: bytes, name: bytes, *, is_folder: bool) -> bool:
        """Return whether it matches this path itself, without regard to the folders around it.

        Args:
            path: The path.
            name: Its last part.
            is_folder: Whether the path is a folder.
        """
        if self.folders_only and not is_folder:
            return False
        text = name if self.by_name else path
        if self._suffix is not None:
            return text.endswith(self._suffix)
        if self._source is None:
            return self.literal == text
        if self._compiled is None:
            self._compiled = re.compile(self._source, re.DOTALL)
        return self._compiled.fullmatch(text) is not None


class Patterns:
    """The patterns of an ignore file, without those that can match nothing."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._others: list[Pattern] = []
        # Literal patterns are dictionary keys: an ignore file may list a hundred thousand names.
        self._names: dict[bytes, list[Pattern]] = {}
        self._paths: dict[bytes, list[Pattern]] = {}
        for index, line in enumerate(lines):
            pattern = Pattern(index, _trimmed(line.partition(b"\0")[0]))
            if not pattern.can_match:
                continue
            if pattern.literal is None:
                self._others.append(pattern)
            else:
                equal = self._names if pattern.by_name else self._paths
                equal.setdefault(pattern.literal, []).append(pattern)
            self.take_back = self.take_back or pattern.takes_back

    take_back = False
    """Whether any pattern begins with ``!``."""

    def last_match(self, path: bytes, *, is_folder: bool) -> Pattern | None:
        """Return the last pattern that matches a path, or None. That pattern decides."""
        name = path.rpartition(b"/")[2]
        last: Pattern | None = None
        for equal in (self._names.get(name, ()), self._paths.get(path, ())):
            candidates = (
                candidate
                for candidate in reversed(equal)
                if is_folder or not candidate.folders_only
            )
            pattern = next(candidates, None)
            if pattern is not None and (last is None or pattern.index > last.index):
                last = pattern
        for pattern in reversed(self._others):
            if last is not None and pattern.index < last.index:
                break
            if pattern.matches(path, name, is_folder=is_folder):
                return pattern
        return last


def lines_of(content: bytes) -> list[bytes]:
    """Return the lines of an ignore file without line ends, comments and a byte order mark."""
    lines = content.removeprefix(_BOM).split(b"\n")
    return [line.removesuffix(b"\r") for line in lines if line and not line.startswith(b"#")]


def _trimmed(line: bytes) -> bytes:
    """Return the line without trailing spaces, unless a backslash precedes them."""
    end, place = 0, 0
    while place < len(line):
        if line[place : place + 1] == b"\\":
            if place + 1 == len(line):
                return line
            place += 1
            end = place + 1
        elif line[place : place + 1] != b" ":
            end = place + 1
        place += 1
    return line[:end]


def _translated(pattern: bytes) -> bytes | None:
    """Return an equivalent regular expression; None if the pattern can match nothing.

    The text between two stars is matched at its first occurrence, without backtracking: a later
    occurrence would only leave less for the second star. So the time is bounded by the product of
    the lengths of pattern and path.
    """
    deep = _Segments(rb"(?:[^/]*/)*")
    flat = _Segments(rb"[^/]*")
    place = 0
    while place < len(pattern):
        match = _GLOBSTAR.match(pattern, place)
        if match and (place == 0 or pattern[place - 1 : place] == b"/"):
            deep.add(flat.end())
            flat = _Segments(rb"[^/]*")
            place = match.end()
            if place == len(pattern) and not match[1]:
                return deep.end() + rb".*"
            if match[1] == rb"\/":
                deep.add(rb"[^/]*/")
            deep.star()
        elif match := _STARS.match(pattern, place):
            flat.star()
            place = match.end()
        else:
            item = _item(pattern, place)
            if item is None:
                return None
            expression, place = item
            flat.add(expression)
            if expression == b"/":
                deep.add(flat.end())
                flat = _Segments(rb"[^/]*")
    deep.add(flat.end())
    return deep.end()


_GLOBSTAR = re.compile(rb"\*\*+(/|\\/|\Z)")
_STARS = re.compile(rb"\*+")


def _item(pattern: bytes, place: int) -> tuple[bytes, int] | None:
    """Return the expression for an item other than a star, and the position after it.

    Return None if the item can match nothing.
    """
    character = pattern[place : place + 1]
    if character == b"[":
        return _bracket(pattern, place + 1)
    if character == b"?":
        return rb"[^/]", place + 1
    if character == b"\\":
        place += 1
        character = pattern[place : place + 1]
    return (re.escape(character), place + 1) if character else None


class _Segments:
    """The texts between stars of one kind.

    Args:
        filler: What a star matches.
    """

    def __init__(self, filler: bytes) -> None:
        self._filler = filler
        self._done = b""
        self._segment = b""
        self._stars = 0

    def add(self, expression: bytes) -> None:
        self._segment += expression

    def star(self) -> None:
        """Begin a new segment, so that the previous one is matched at its first occurrence."""
        if not self._stars:
            self._done = self._segment
        elif self._segment:
            self._done += rb"(?>" + self._filler + rb"?" + self._segment + rb")"
        self._segment = b""
        self._stars += 1

    def end(self) -> bytes:
        return self._done + (self._filler if self._stars else b"") + self._segment


def _bracket(pattern: bytes, place: int) -> tuple[bytes, int] | None:
    """Return the expression for a set, and the position after it; None if it is not closed."""
    negated = pattern[place : place + 1] in {b"!", b"^"}
    place += negated
    members: set[int] = set()
    before, first = -1, True
    while first or pattern[place : place + 1] != b"]":
        first = False
        if pattern[place : place + 2] == b"[:":
            end = pattern.find(b"]", place + 2)
            if end < 0:
                return None
            if end > place + 2 and pattern[end - 1 : end] == b":":
                named = _CLASSES.get(pattern[place + 2 : end - 1])
                if named is None:
                    return None
                members |= named
                before, place = -1, end + 1
                continue
        is_range = (
            before > 0
            and pattern[place : place + 1] == b"-"
            and pattern[place + 1 : place + 2] not in {b"", b"]"}
        )
        place += is_range
        place += pattern[place : place + 1] == b"\\"
        if place >= len(pattern):
            return None
        code = pattern[place]
        members |= set(range(before, code + 1)) if is_range else {code}
        before = -1 if is_range else code
        place += 1
    chosen = (set(range(256)) - members if negated else members) - {_SLASH}
    escaped = b"".join(rb"\x%02x" % code for code in sorted(chosen))
    return (rb"[" + escaped + rb"]" if chosen else _NEVER), place + 1
