"""examples/04-streaming-text: replaces addresses and numbers, each by its own placeholder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dcf import Request
from dcf.builder.bundle import find_files

Redact = Callable[[Iterable[bytes]], list[str]]

MAIL = (
    "From: Ada <ada@example.com>",
    "To: bob.smith+news@mail.example.co.uk",
    "Ring me at +82 10-1234-5678 or 02-555-1234, Bob. ADA@example.com",
)
REDACTED = (
    "From: Ada <[email 1]>",
    "To: [email 2]",
    "Ring me at [phone 1] or [phone 2], Bob. [email 1]",
)


@pytest.fixture(scope="session")
def folder(examples: Path) -> Path:
    return examples / "04-streaming-text"


@pytest.fixture(scope="module")
def redact(author: Callable[[Path, str], Any], folder: Path) -> Redact:
    handler = author(folder, "handler").Handler()
    return lambda lines: list(handler(Request(stream=lines)))


def test_each_line_is_returned_with_placeholders(redact: Redact) -> None:
    assert redact(line.encode() for line in MAIL) == [*REDACTED]


def test_a_line_is_answered_before_the_next_line_is_read(author: Any, folder: Path) -> None:
    taken: list[bytes] = []

    def lines() -> Iterator[bytes]:
        for line in (b"a@example.com", b"b@example.com"):
            taken.append(line)
            yield line

    replies = author(folder, "handler").Handler()(Request(stream=lines()))

    assert next(replies) == "[email 1]"
    assert len(taken) == 1


def test_each_stream_starts_anew(redact: Redact) -> None:
    assert redact([b"ada@example.com"]) == ["[email 1]"]
    assert redact([b"bob@example.com"]) == ["[email 1]"]


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("+821012345678, +82-10-1234-5678", "[phone 1], [phone 1]"),
        ("(02) 123-4567 / (030) 123 4567 / 010-1234-5678", "[phone 1] / [phone 2] / [phone 3]"),
        ("555-123-4567, (555) 123-4567", "[phone 1], [phone 1]"),
        ("전화 02-555-1234로, hong@example.kr로", "전화 [phone 1]로, [email 1]로"),
        ("2026-11-25 10:00:01 192.168.100.200 01-12-2026", None),
        ("550e8400-e29b-41d4-a716-446655440000", None),
        ("1234-5678-1234-5678, 978-3-16-148410-0, 12345678901234567890", None),
        ("ada@localhost, @example.com, a @ b.com", None),
        ("", None),
    ],
)
def test_only_addresses_and_numbers_are_replaced(
    redact: Redact, text: str, redacted: str | None
) -> None:
    assert redact([text.encode()]) == [text if redacted is None else redacted]


def test_bytes_that_are_not_text_do_not_end_the_stream(redact: Redact) -> None:
    assert redact([b"\xff\xfe ada@example.com", b"ada@example.com"]) == [
        "\ufffd\ufffd [email 1]",
        "[email 1]",
    ]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["a", "a@", "a.b-", "0", "a@a.", "012 ", "+1 ", "1-"])
def test_no_line_takes_long(redact: Redact, piece: str) -> None:
    text = piece * (200_000 // len(piece))

    assert len(redact([text.encode()])) == 1


def test_the_bundle_contains_the_source(folder: Path) -> None:
    assert {file.path for file in find_files(folder) if file.path.startswith("src")} == {
        "src/__init__.py",
        "src/handler.py",
        "src/redaction.py",
    }
