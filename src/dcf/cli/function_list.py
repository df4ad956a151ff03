"""``dcf-cli function list``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dcf.cli import remote
from dcf.cli.console import Console
from dcf.cli.table import print_table
from dcf.model.status import FunctionState, FunctionStatus
from dcf.protocol.gateway import members_of

TITLES = ("Function", "Image", "Maintainer", "Invocations", "Replicas", "Status", "Description")

DIGEST_SHOWN = len("sha256:") + 12
"""Number of characters of a digest in a table."""


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the names.")
@remote.gateway
def list_(*, as_json: bool, quiet: bool, gateway: str | None, token_file: Path | None) -> None:
    """List the deployed functions.

    \b
    Example:
      dcf-cli function list
    """
    with remote.connect_here(gateway, token_file) as client:
        functions = client.functions()
    if as_json:
        click.echo(json.dumps([members_of(function) for function in functions], indent=2))
    elif quiet:
        click.echo("".join(f"{function.name}\n" for function in functions), nl=False)
    elif functions:
        print_table(TITLES, [_row(function) for function in functions], as_json=False)
    else:
        Console().print(
            "No functions are deployed. To deploy one, run `dcf-cli function deploy FOLDER`."
        )


def status_text(function: FunctionStatus) -> str:
    """Return the status as tables show it."""
    if function.state is FunctionState.IDLE and not function.by_hand:
        return f"Ready ({function.state})"  # the next call waits while a replica starts
    text = "Ready" if function.takes_calls else "Not Ready"
    crashes = function.state is FunctionState.CRASH_LOOP
    return f"{text} ({function.state})" if crashes else text


def _row(function: FunctionStatus) -> tuple[str | int, ...]:
    return (
        function.name,
        function.image or function.artifact[:DIGEST_SHOWN],
        function.maintainer,
        function.invocations,
        function.replicas,
        status_text(function),
        " ".join(function.desc.split()),
    )
