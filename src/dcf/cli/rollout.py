"""What the commands share after which another revision serves."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from dcf.cli.console import Console
from dcf.cli.options import SECONDS, Option
from dcf.client.gateway import Client
from dcf.errors import DcfError, StartError
from dcf.model.status import FunctionStatus

no_wait: Option = click.option(
    "--no-wait", is_flag=True, help="Do not wait until its replicas are ready."
)

timeout: Option = click.option(
    "--timeout",
    type=SECONDS,
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for ready replicas.",
)


def serve(
    ask: Callable[[], FunctionStatus], client: Client, function: str, *, what: str, waits: bool
) -> FunctionStatus:
    """Has another revision serve, and shows how that goes.

    Args:
        ask: Asks the gateway, and waits if it is to.
        client: Of that gateway.
        function: The function's name.
        what: What is started, for people.
        waits: Whether ``ask`` waits.

    Raises:
        DcfError: What ``ask`` raises.
    """
    console = Console()
    if waits:
        console.started("start", what)
    begin = time.monotonic()
    try:
        status = ask()
    except KeyboardInterrupt:
        console.say(f"`dcf-cli function info {function}` tells how it is.")
        raise
    except StartError:
        tell_who_serves(console, client, function)
        raise
    if waits:
        detail = f"{status.ready} of {status.replicas} replicas ready"
        console.finished("start", detail, time.monotonic() - begin)
    return status


def tell_who_serves(console: Console, client: Client, function: str) -> None:
    """After a start that has failed, says which revision takes the calls meanwhile, if any."""
    try:
        serving = client.function(function).serving
    except DcfError:
        return  # what went wrong before is what counts
    if serving is not None:
        console.say(f"Revision {serving} goes on taking the calls.")
