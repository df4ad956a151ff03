"""``dcf-cli gateway start``."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dcf.cli.console import Console
from dcf.cli.gateway_options import read_options, start_options
from dcf.files.storage import writing
from dcf.gateway.address_file import GatewayAddress, published
from dcf.gateway.cleanup import clear
from dcf.gateway.detach import detach
from dcf.gateway.plan import Plan
from dcf.gateway.runner import keep
from dcf.supervision.process_log import ProcessLog
from dcf.supervision.process_messages import LogBound

LINGERING = Path("/var/lib/systemd/linger")
"""Has a file for each user whose processes and runtime directory outlive the last logout."""


@click.command()
@start_options
@click.option("--detach", "detached", is_flag=True, help="Return when the gateway is ready. Stop"
              " it with `gateway stop`.")  # fmt: skip
def start(*, detached: bool, **given: Any) -> None:
    """Start the gateway: one port for all functions.

    The gateway runs until Ctrl-C and prints the control plane's log. A second Ctrl-C kills all
    processes that are left.

    \b
    Example:
      dcf-cli gateway start
      dcf-cli gateway start --detach --port 8443 --cert chain.pem --key key.pem
      dcf-cli gateway start --allow-host dcf.example.com
    """
    plan = Plan.of(read_options(**given), os.environ)
    console = Console()
    if not detached:
        _start(plan, console, lambda: console.print, lambda: True)
        return
    parent = detach()
    if isinstance(parent, int):
        raise click.exceptions.Exit(parent)

    def release() -> bool:
        if not _outlives_login(plan):
            console.notice(
                "logging out will stop this gateway. Run `loginctl enable-linger` to prevent that."
            )
        parent.let_go()
        return False

    _start(plan, console, lambda: _own_log(plan), release)


def _start(
    plan: Plan,
    console: Console,
    open_log: Callable[[], Callable[[str], None]],
    ready: Callable[[], bool],
) -> None:
    """Check the plan, then start the gateway and run it.

    Args:
        plan: What to start.
        console: Prints the start.
        open_log: Returns a function that logs a line after the start.
        ready: As for ``keep``.
    """
    plan.make_folders()
    host, port, tls = plan.control.host, plan.control.port, plan.control.tls
    with published(plan.places, host, port, tls=tls) as address:
        plan.check_port()
        plan.write_config()
        console.print(f"Starting the gateway of {plan.places.data}")

        def on_ready() -> bool:
            _announce(console, plan, address)
            return ready()

        code = keep(plan, address, open_log(), on_ready)
        clear(plan.places)
        if code:
            raise click.exceptions.Exit(code)


def _announce(console: Console, plan: Plan, address: GatewayAddress) -> None:
    console.print(f"Gateway at {address.url}")
    if not plan.control.open:
        console.notice(
            f"the gateway listens on {plan.control.host}, so calls need a key. Create one with"
            " `dcf-cli gateway key create NAME`."
        )


def _outlives_login(plan: Plan) -> bool:
    """Return whether the folder of the sockets outlives the user's last logout."""
    of_login = plan.env.get("XDG_RUNTIME_DIR")
    if not of_login or not plan.places.runtime.is_relative_to(of_login):
        return True
    return (LINGERING / getpass.getuser()).exists()


def _own_log(plan: Plan) -> Callable[[str], None]:
    """Return a function that logs a line of a gateway without a terminal."""
    folder = plan.places.gateway / "log"
    with writing(folder):
        log = ProcessLog(folder, LogBound())
    return lambda text: log.feed(f"{text}\n".encode())
