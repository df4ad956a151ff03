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
from dcf.errors import GatewayError, SupervisorUnreachable
from dcf.gateway.address_file import GatewayAddress, find
from dcf.gateway.processes import supervisor_socket
from dcf.gateway.start_options import places_of
from dcf.settings import Locations
from dcf.supervision.identity import identify
from dcf.supervision.supervisor_client import SupervisorClient

AT_ONCE = 15.0
"""Maximum seconds from the second SIGTERM to the end. A process that waits for a disk is slow."""

POLL = 0.02


@click.command()
@gateway_options.data_dir
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=40.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum wait for calls in progress. Then all processes are killed.",
)
def stop(*, data_dir: Path | None, timeout: float) -> None:
    """Stop the gateway on this machine, and all its functions.

    The command returns when every process has ended. It is not an error if no gateway runs.

    \b
    Example:
      dcf-cli gateway stop
    """
    console = Console()
    places = places_of(data_dir)
    address = find(places)
    if address is not None:
        _stop(address, timeout, console)
        console.print(f"Stopped the gateway at {address.url}")
    elif _stop_remaining(places, timeout):
        console.print("Stopped the remaining processes of a killed gateway")
    else:
        console.print(f"No gateway runs with the data directory {places.data}")


def _stop(address: GatewayAddress, timeout: float, console: Console) -> None:
    pid = address.process.pid
    for seconds, last in ((timeout, False), (AT_ONCE, True)):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise GatewayError(f"process {pid} belongs to another user") from error
        until = time.monotonic() + seconds
        while identify(pid) == address.process:
            if time.monotonic() >= until:
                break
            time.sleep(POLL)
        else:
            return
        if not last:
            console.print(f"Calls are still in progress after {timeout:g} s; killing the processes")
    raise GatewayError(f"the gateway at {address.url} (process {pid}) did not end")


def _stop_remaining(places: Locations, timeout: float) -> bool:
    """Stop a supervisor whose parent was killed; return whether there was one."""
    with contextlib.suppress(SupervisorUnreachable):
        asyncio.run(SupervisorClient(supervisor_socket(places)).shutdown(timeout))
        return True
    return False
