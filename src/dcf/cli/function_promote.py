"""``dcf-cli function promote``."""

from __future__ import annotations

from pathlib import Path

import click

from dcf.cli import remote, rollout_output
from dcf.cli.console import Console


@click.command()
@click.argument("name", shell_complete=remote.complete_name)
@rollout_output.no_wait
@rollout_output.timeout
@remote.gateway
def promote(
    *, name: str, no_wait: bool, timeout: float, gateway: str | None, token_file: Path | None
) -> None:
    """Send all calls to the canary.

    NAME is a deployed function, or its folder if it contains a slash. The previous revision keeps
    serving until enough replicas of the new revision are ready.

    \b
    Example:
      dcf-cli function promote hello-dcf
    """
    function, client = remote.connect_for(name, gateway, token_file)
    with client:
        status = rollout_output.serve(
            lambda: client.promote(function, wait=not no_wait, timeout=timeout),
            client,
            function,
            what="the canary, for all calls",
            waits=not no_wait,
        )
    Console().print(f"{function}: revision {status.revision} takes all calls")
