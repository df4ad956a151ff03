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
"""Has a file for each user whose processes and runtime directory stay without a login."""


@click.command()
@start_options
@click.option("--detach", "detached", is_flag=True, help="Return when it is ready; `gateway stop`"
              " ends it.")  # fmt: skip
def start(*, detached: bool, **given: Any) -> None:
    """Start the gateway: one port for all functions.

    It runs until Ctrl-C, and shows the control plane's log. Ctrl-C once more ends what is left at
    once.

    \b
    Example:
      dcf-cli gateway start
      dcf-cli gateway start --detach --port 8443 --cert chain.pem --key key.pem
      dcf-cli gateway start --allow-host dcf.example.com
    """
    plan = Plan.of(read_options(**given), os.environ)
    console = Console()
    if not detached:
        _start(plan, console, lambda: console.say, lambda: True)
        return
    parent = detach()
    if isinstance(parent, int):
        raise click.exceptions.Exit(parent)

    def let_go() -> bool:
        if not _outlives_login(plan):
            console.notice(
                f"its sockets are in {plan.places.runtime}, which goes with your last login;"
                " `loginctl enable-linger` keeps it"
            )
        parent.release()
        return False

    _start(plan, console, lambda: _own_log(plan), let_go)


def _start(
    plan: Plan,
    console: Console,
    telling: Callable[[], Callable[[str], None]],
    ready: Callable[[], bool],
) -> None:
    """Checks, starts and keeps the gateway.

    Args:
        plan: What to start.
        console: Hears of the start.
        telling: Makes what hears of everything else.
        ready: As for ``keep``.
    """
    plan.make_folders()
    host, port, tls = plan.control.host, plan.control.port, plan.control.tls
    with published(plan.places, host, port, tls=tls) as address:
        plan.check_port()
        plan.write_config()
        console.say(f"Starting the gateway of {plan.places.data}")

        def on_ready() -> bool:
            _announce(console, plan, address)
            return ready()

        code = keep(plan, address, telling(), on_ready)
        clear(plan.places)
        if code:
            raise click.exceptions.Exit(code)


def _announce(console: Console, plan: Plan, address: GatewayAddress) -> None:
    console.say(f"Gateway at {address.url}")
    if not plan.control.open:
        console.notice(
            f"it listens on {plan.control.host}, beyond this machine: calls need a key, made by"
            " `dcf-cli gateway key create NAME`"
        )


def _outlives_login(plan: Plan) -> bool:
    """Whether the folder with the sockets stays when the user has logged out."""
    of_login = plan.env.get("XDG_RUNTIME_DIR")
    if not of_login or not plan.places.runtime.is_relative_to(of_login):
        return True
    return (LINGERING / getpass.getuser()).exists()


def _own_log(plan: Plan) -> Callable[[str], None]:
    """Where a gateway without a terminal says what happens."""
    folder = plan.places.gateway / "log"
    with writing(folder):
        log = ProcessLog(folder, LogBound())
    return lambda text: log.feed(f"{text}\n".encode())
