"""``dcf-cli gateway unit``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from dcf.cli.gateway_options import read_options, start_options
from dcf.gateway.runner import GRACE, STAGES
from dcf.gateway.start_options import StartOptions

PLACES = ("DCF_DATA_DIR", "DCF_RUNTIME_DIR", "DCF_SECRETS_DIR", "DCF_STATE_DIR", "DCF_STORE_LIMIT")
"""Variables that are copied from this command's environment into the unit."""

UNIT = """\
# A systemd unit for this user's gateway. To install it:
#   dcf-cli gateway unit > ~/.config/systemd/user/dcf-gateway.service
#   systemctl --user daemon-reload
#   systemctl --user enable --now dcf-gateway
# To keep it running after you log out:
#   loginctl enable-linger
[Unit]
Description=DCF gateway

[Service]
Type=exec
{environment}ExecStart={command}
Restart=on-failure
# Only the main process gets SIGTERM. It stops the others in order.
KillMode=mixed
TimeoutStopSec={patience}
# Functions' limits are control groups below the gateway's own.
Delegate=yes

[Install]
WantedBy=default.target
"""


@click.command()
@start_options
def unit(**given: Any) -> None:
    """Print a systemd unit. It starts a gateway with these options.

    \b
    Example:
      dcf-cli gateway unit > ~/.config/systemd/user/dcf-gateway.service
    """
    click.echo(_unit(read_options(**given), os.environ), nl=False)


def _unit(options: StartOptions, env: Mapping[str, str]) -> str:
    command = [sys.executable, "-m", "dcf.cli", "gateway", "start", *options.arguments()]
    set_ = [f"Environment={_quoted(f'{name}={env[name]}')}\n" for name in PLACES if env.get(name)]
    return UNIT.format(
        environment="".join(set_),
        command=_line(command),
        patience=int(STAGES * GRACE) + 10,
    )


def _line(parts: Sequence[str]) -> str:
    # Only in a command line does $ begin a variable.
    return " ".join(_quoted(part.replace("$", "$$")) for part in parts)


def _quoted(text: str) -> str:
    """Quote a value for systemd (systemd.syntax(7)). ``%`` begins a specifier everywhere."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    plain = all(letter.isalnum() or letter in "-_./:=,%$@+" for letter in escaped)
    return escaped if plain and escaped else f'"{escaped}"'
