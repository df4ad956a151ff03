"""Options that several ``gateway`` commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dcf.cli.host_options import allow_host
from dcf.gateway.start_options import StartOptions
from dcf.settings import ControlSettings

Decorated = Callable[..., Any]

_DEFAULTS = ControlSettings()

data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The gateway's data directory. [default: DCF_DATA_DIR or the user's data directory]",
)

gateway = click.option(
    "-g",
    "--gateway",
    envvar="DCF_GATEWAY",
    help="Gateway as host:port or URL. [default: DCF_GATEWAY or the gateway of the data directory]",
)


def start_options(command: Decorated) -> Decorated:
    """Add the options of :class:`StartOptions` to a command."""
    file = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
    for option in (
        allow_host,
        click.option("--cors", default="", metavar="ORIGINS", help="Web origins that may call"
                     " functions from a browser, separated by commas; * allows all."),
        click.option("--key", type=file, help="PEM file of the certificate's private key."),
        click.option("--cert", type=file, help="PEM file of a certificate chain, to speak TLS."),
        data_dir,
        click.option("--port", type=click.IntRange(1, 65535), default=_DEFAULTS.port,
                     show_default=True, help="Port to listen on."),
        click.option("--host", default=_DEFAULTS.host, show_default=True, help="Address to listen"
                     " on. An address that is not loopback requires keys for all calls."),
    ):  # fmt: skip
        command = option(command)
    return command


def read_options(**given: Any) -> StartOptions:
    """Return the options that :func:`start_options` read.

    Raises:
        UsageError: If only one of ``--cert`` and ``--key`` is given.
    """
    options = StartOptions(**given)
    if (options.cert is None) != (options.key is None):
        raise click.UsageError("--cert and --key must be given together")
    return options
