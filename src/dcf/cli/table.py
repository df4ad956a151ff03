"""Tables, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import click


def print_table(
    titles: Sequence[str], rows: Sequence[Sequence[str | int]], *, as_json: bool
) -> None:
    """Print a table, or a JSON list of objects whose keys are the titles in lower case."""
    if as_json:
        keys = [title.lower().replace(" ", "_") for title in titles]
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return
    for line in table_lines(titles, rows):
        click.echo(line)


def table_lines(titles: Sequence[str], rows: Sequence[Sequence[str | int]]) -> Iterator[str]:
    """Yield the lines of a table, each column as wide as its longest cell."""
    lines = [tuple(titles), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()
