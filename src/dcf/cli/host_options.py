"""The option ``--allow-host``: further names that the ``Host`` of a request may have."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from dcf.protocol.hosts import OPTION, VARIABLE, split_names


def _read(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> list[str]:
    """Return the names from the option and from the variable."""
    names: list[str] = []
    for source, texts in ((OPTION, given), (VARIABLE, (os.environ.get(VARIABLE, ""),))):
        for text in texts:
            try:
                names += split_names(text)
            except ValueError as error:
                message = (
                    f"{source}: expected a host name without a port, *.NAME or *, got '{error}'"
                )
                raise click.UsageError(message) from None
    return list(dict.fromkeys(names))


allow_host = click.option(
    OPTION,
    multiple=True,
    metavar="NAME",
    callback=_read,
    help=f"Allow requests for this host name, besides localhost and IP addresses; * allows all."
    f" Repeatable. {VARIABLE} adds more names, separated by commas.",
)
