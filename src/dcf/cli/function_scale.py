"""``dcf-cli function scale``."""

from __future__ import annotations

from pathlib import Path

import click

from dcf.cli import remote
from dcf.cli.console import Console


@click.command()
@click.argument("name", shell_complete=remote.complete_name)
@click.argument("replicas", type=click.IntRange(min=0), required=False)
@click.option("--auto", is_flag=True, help="Turn autoscaling on again.")
@remote.gateway
def scale(
    *,
    name: str,
    replicas: int | None,
    auto: bool,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Set a function's number of replicas.

    NAME is a deployed function, or its folder if it contains a slash. The number holds until
    --auto, or until a deploy changes the function's scaling.

    \b
    Example:
      dcf-cli function scale hello-dcf 3
      dcf-cli function scale hello-dcf --auto
    """
    if auto is (replicas is not None):
        raise click.UsageError("expected either a number of replicas or --auto")
    function, client = remote.connect_for(name, gateway, token_file)
    with client:
        before = client.function(function).replicas
        status = client.scale(function, replicas)
    after = status.replicas
    change = f"{before}, unchanged" if before == after else f"{before} to {after}"
    if auto:
        change += f"; autoscaling from {status.minimum} to {status.maximum}"
    Console().print(f"Replicas of {function}: {change}")
