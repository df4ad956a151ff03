"""Shared by the commands that change which revision serves."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from dcf.cli.console import Console
from dcf.cli.options import Option
from dcf.client.gateway import Client
from dcf.errors import DcfError, StartError
from dcf.model.status import FunctionStatus

no_wait: Option = click.option(
    "--no-wait", is_flag=True, help="Do not wait until the replicas are ready."
)

timeout: Option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum wait for ready replicas.",
)


def serve(
    switch: Callable[[], FunctionStatus], client: Client, function: str, *, what: str, waits: bool
) -> FunctionStatus:
    """Switch to another revision and print the progress.

    Args:
        switch: Sends the request, and waits for ready replicas if ``waits``.
        client: Client of the gateway.
        function: The function's name.
        what: Description of what starts, for people.
        waits: Whether ``switch`` waits.

    Raises:
        DcfError: Errors of ``switch``.
    """
    console = Console()
    if waits:
        console.started("start", what)
    begin = time.monotonic()
    try:
        status = switch()
    except KeyboardInterrupt:
        console.print(f"To see the status, run `dcf-cli function info {function}`.")
        raise
    except StartError:
        show_serving(console, client, function)
        raise
    if waits:
        detail = f"{status.ready} of {status.replicas} replicas ready"
        console.finished("start", detail, time.monotonic() - begin)
    return status


def show_serving(console: Console, client: Client, function: str) -> None:
    """Print which revision keeps serving after a failed start, if any."""
    try:
        serving = client.function(function).serving
    except DcfError:
        return  # the caller reports the first error
    if serving is not None:
        console.print(f"Revision {serving} keeps serving.")
