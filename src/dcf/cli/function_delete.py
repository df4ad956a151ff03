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
    """Delete deployed functions. Calls under way are finished.

    NAME is a deployed function, or with a slash its folder.

    \b
    Example:
      dcf-cli function delete hello-dcf
    """
    console = Console()
    for one in name:
        function, client = remote.connect_for(one, gateway, token_file)
        with client:
            client.delete(function)
        console.say(f"Deleted {function}.")
