"""``dcf-cli function delete``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from dcf.cli import remote
from dcf.cli.console import Console


@click.command()
@click.argument("name", nargs=-1, required=True, shell_complete=remote.complete_name)
@remote.gateway
def delete(*, name: Sequence[str], gateway: str | None, token_file: Path | None) -> None:
    """Delete deployed functions. Calls in progress are finished first.

    NAME is a deployed function, or its folder if it contains a slash.

    \b
    Example:
      dcf-cli function delete hello-dcf
    """
    console = Console()
    for argument in name:
        function, client = remote.connect_for(argument, gateway, token_file)
        with client:
            client.delete(function)
        console.print(f"Deleted {function}.")
