"""The documentation site: `make docs`. The reasons are in docs/decisions/0037-docs-site.md."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

LOGGER = getLogger(__name__)
DOCS = Path(__file__).parent
ROOT = DOCS.parent
VERSION = (ROOT / "src" / "dcf" / "version.py").read_text("utf-8").split('"')[-2]

project = "DCF"
author = "the DCF authors"
release = VERSION
language = "en"

extensions = ["myst_parser", "sphinx_copybutton"]
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = f"DCF {release}"
html_copy_source = False
html_show_copyright = False
# A command is copied without its prompt and without what it prints.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

PAGES = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "README.md": "index.md",
    "docs/decisions": "decisions/index.md",
}
"""Files and folders of the repository that have a page of another path on the site."""


def setup(app: Sphinx) -> None:
    """Connect the steps below to the build; Sphinx calls this."""
    app.connect("source-read", _read)
    app.connect("include-read", _include)
    app.connect("build-finished", _check_hosts)


def _read(_: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = _site_links(source[0], PurePosixPath("docs", docname).parent, docname)


def _include(app: Sphinx, path: Path, _: str, source: list[str]) -> None:
    # MyST gives the page's file name alone, without its folder.
    folder = (DOCS / path).resolve().parent.relative_to(ROOT)
    source[0] = _site_links(source[0], PurePosixPath(folder), app.env.docname)


def _site_links(text: str, folder: PurePosixPath, docname: str) -> str:
    """Return a page's text with the links that leave docs/ made to fit the site.

    A page is read in the repository and on the site. The site has some of the repository's files
    under another path, and others, such as the examples, not at all: their links become plain text.

    Args:
        text: The page's Markdown.
        folder: The folder of the repository that the links are relative to.
        docname: The page of the site that shows the text.
    """
    page = (DOCS / docname).parent

    def adapted(match: re.Match[str]) -> str:
        label, place, anchor = match.groups()
        target = (ROOT / folder / place).resolve()
        name = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
        if not target.exists():
            return match.group()  # Sphinx reports it
        if name in PAGES:
            # The site's first page has other headings than the README.
            anchor = "" if name == "README.md" else anchor
            target = DOCS / PAGES[name]
        elif not target.is_relative_to(DOCS):
            return str(label)
        return f"[{label}]({os.path.relpath(target, page)}{anchor or ''})"

    return re.sub(r"\[([^]\n]+)\]\(([^)#\s:]+)(#[^)\s]*)?\)", adapted, text)


def _check_hosts(app: Sphinx, error: Exception | None) -> None:
    """Warn if a page loads a script, style, font or picture from another host."""
    if error or app.builder.format != "html":
        return
    loads = re.compile(r"""(?:<(?:script|img)\b[^>]*\bsrc|<link\b[^>]*\bhref)=["'](?:https?:)?//""")
    pages = Path(app.outdir).rglob("*.html")
    for page in pages:
        if loads.search(page.read_text("utf-8")):
            LOGGER.warning("%s loads a file from another host", page)
