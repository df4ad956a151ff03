"""``dcf-cli gateway stop``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import click

from dcf.cli import gateway_options
from dcf.cli.console import Console
from dcf.cli.gateway_address import Address, find
from dcf.cli.options import SECONDS_OR_ZERO
from dcf.errors import GatewayError, SupervisorUnreachable
from dcf.gateway.processes import supervisor_socket
from dcf.settings import Locations
from dcf.supervision.client import SupervisorClient
from dcf.supervision.identity import identify

AT_ONCE = 15.0
"""Seconds that a gateway may take to end at once; a process that waits for a disk takes some."""

POLL = 0.02


@click.command()
@gateway_options.data_dir
@click.option(
    "--timeout",
    type=SECONDS_OR_ZERO,
    default=40.0,
    show_default=True,
    metavar="SECONDS",
    help="For calls under way; what is left then is ended at once.",
)
def stop(*, data_dir: Path | None, timeout: float) -> None:
    """Stop the gateway of this machine, and all its functions.

    It returns when every process has ended. Where none runs, that is said, and no error.

    \b
    Example:
      dcf-cli gateway stop
    """
    console = Console()
    places = gateway_options.places_of(data_dir)
    address = find(places)
    if address is not None:
        _stop(address, timeout, console)
        console.say(f"Stopped the gateway at {address.url}")
    elif _end_remains(places, timeout):
        console.say("Ended what a killed gateway had left")
    else:
        console.say(f"No gateway runs with the data directory {places.data}")


def _stop(address: Address, timeout: float, console: Console) -> None:
    pid = address.process.pid
    for seconds, last in ((timeout, False), (AT_ONCE, True)):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise GatewayError(f"process {pid} is another user's") from error
        until = time.monotonic() + seconds
        while identify(pid) == address.process:
            if time.monotonic() >= until:
                break
            time.sleep(POLL)
        else:
            return
        if not last:
            console.say(f"Calls went on for {timeout:g} s; ending what is left")
    raise GatewayError(f"the gateway at {address.url} (process {pid}) does not end")


def _end_remains(places: Locations, timeout: float) -> bool:
    """Ends a supervisor whose parent was killed; returns whether there was one."""
    with contextlib.suppress(SupervisorUnreachable):
        asyncio.run(SupervisorClient(supervisor_socket(places)).shutdown(timeout))
        return True
    return False
