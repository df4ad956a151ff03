"""``dcf-cli function scale``."""

from __future__ import annotations

from pathlib import Path

import click

from dcf.cli import remote
from dcf.cli.console import Console


@click.command()
@click.argument("name", shell_complete=remote.complete_name)
@click.argument("replicas", type=click.IntRange(min=0))
@remote.gateway
def scale(*, name: str, replicas: int, gateway: str | None, token_file: Path | None) -> None:
    """Set how many replicas a deployed function has.

    NAME is a deployed function, or with a slash its folder.

    \b
    Example:
      dcf-cli function scale hello-dcf 3
    """
    function, client = remote.connect_for(name, gateway, token_file)
    with client:
        before = client.function(function).replicas
        after = client.scale(function, replicas).replicas
    change = f"{before} as before" if before == after else f"{before} to {after}"
    Console().say(f"Replicas of {function}: {change}")
