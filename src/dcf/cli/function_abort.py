"""``dcf-cli function abort``."""

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
def abort(
    *, name: str, no_wait: bool, timeout: float, gateway: str | None, token_file: Path | None
) -> None:
    """End a canary. The current revision takes all calls again.

    NAME is a deployed function, or its folder if it contains a slash. The canary finishes the calls
    that it has.

    \b
    Example:
      dcf-cli function abort hello-dcf
    """
    function, client = remote.connect_for(name, gateway, token_file)
    with client:
        status = rollout_output.serve(
            lambda: client.abort(function, wait=not no_wait, timeout=timeout),
            client,
            function,
            what="the current revision, for all calls",
            waits=not no_wait,
        )
    Console().print(f"{function}: revision {status.revision} takes all calls")
