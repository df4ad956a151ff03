"""Options that several commands of a gateway share, and what they come to."""

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
    help="Where the gateway keeps everything; DCF_DATA_DIR when not given.",
)

gateway = click.option(
    "-g",
    "--gateway",
    envvar="DCF_GATEWAY",
    help="Gateway as host:port or URL; the one of the data directory when not given.",
)


def start_options(command: Decorated) -> Decorated:
    """Gives a command the options of :class:`StartOptions`."""
    file = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
    for option in (
        allow_host,
        click.option("--cors", default="", metavar="ORIGINS", help="Origins that browsers may"
                     " call from, with commas between them; * is all."),
        click.option("--key", type=file, help="PEM file of the certificate's private key."),
        click.option("--cert", type=file, help="PEM file of a certificate chain, to speak TLS."),
        data_dir,
        click.option("--port", type=click.IntRange(1, 65535), default=_DEFAULTS.port,
                     show_default=True, help="Port to listen on."),
        click.option("--host", default=_DEFAULTS.host, show_default=True, help="Address to listen"
                     " on. Beyond this machine, calls need a key."),
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
        raise click.UsageError("--cert and --key belong together.")
    return options
