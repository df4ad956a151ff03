"""The Korean pages against the English ones: same headings, code, tables and links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {
    ROOT / "README.md": ROOT / "README.ko.md",
    **{DOCS / path.relative_to(DOCS / "ko"): path for path in sorted((DOCS / "ko").rglob("*.md"))},
}
TRANSLATED = [
    "README.md",
    "docs/reference/handler.md",
    "docs/tutorial/first-deploy.md",
    "docs/tutorial/first-function.md",
    "docs/tutorial/first-stream.md",
]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HANGUL = re.compile(r"[가-힣]")

pairs = pytest.mark.parametrize(
    ("english", "korean"), list(PAGES.items()), ids=lambda path: str(path.relative_to(ROOT))
)


def test_the_pages_that_are_promised_in_korean_are_there() -> None:
    assert [str(page.relative_to(ROOT)) for page in sorted(PAGES) if page.exists()] == TRANSLATED


@pairs
def test_a_translation_has_the_same_code_in_the_same_order(english: Path, korean: Path) -> None:
    assert FENCED.findall(korean.read_text("utf-8")) == FENCED.findall(english.read_text("utf-8"))


@pairs
def test_a_translation_has_the_same_headings_lists_and_tables(english: Path, korean: Path) -> None:
    def shape(page: Path) -> list[str | int]:
        """The kinds of lines: heading marks, list marks, and the columns of table rows."""
        lines = FENCED.sub("", page.read_text("utf-8")).splitlines()
        return [
            line.count("|") if line.startswith("|") else line.split(" ")[0]
            for line in lines
            if re.match(r"#+ |- |\d+\. |\|", line)
        ]

    assert shape(korean) == shape(english)


@pairs
def test_a_translation_has_the_same_links(english: Path, korean: Path) -> None:
    def targets(page: Path) -> list[str]:
        """What the links lead to, in order of their names, a Korean page as its English one."""
        text = FENCED.sub("", page.read_text("utf-8"))
        back = {translation: original for original, translation in PAGES.items()}
        found = []
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in link:
                found.append(link)
                continue
            place, _, anchor = link.partition("#")
            target = (page.parent / place).resolve() if place else page
            target = back.get(target, target)
            # A heading of a Korean page has a Korean anchor.
            found.append(f"{target.relative_to(ROOT)}{'#' if anchor else ''}")
        return sorted(found)

    assert targets(korean) == targets(english)


@pairs
def test_a_translation_has_the_same_inline_code(english: Path, korean: Path) -> None:
    def code(page: Path) -> list[str]:
        return sorted(re.findall(r"`([^`\n]+)`", FENCED.sub("", page.read_text("utf-8"))))

    assert code(korean) == code(english)


@pairs
def test_every_paragraph_is_translated(english: Path, korean: Path) -> None:
    text = re.sub(r"`[^`\n]+`|\]\([^)]*\)", "", FENCED.sub("", korean.read_text("utf-8")))
    left = [
        paragraph
        for paragraph in text.split("\n\n")
        if len(re.findall(r"[A-Za-z]{2,} ", paragraph)) > 5 and not HANGUL.search(paragraph)
    ]

    assert english.exists()
    assert left == []
