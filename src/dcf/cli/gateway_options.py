"""Options that several commands of a gateway share, and what they come to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dcf.cli.hosts import allow_host
from dcf.protocol.hosts import OPTION
from dcf.settings import ControlSettings, Locations

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


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What ``gateway start`` and ``gateway unit`` are told.

    Attributes:
        host: Address or name to listen on.
        port: Port to listen on.
        data_dir: Where the gateway keeps everything; None leaves it to the environment.
        cert: PEM file of a certificate chain; None speaks without TLS.
        key: PEM file of its private key.
        cors: Origins that browsers may call from, with commas between them.
        allow_host: Further names that the ``Host`` of a request may have.
    """

    host: str
    port: int
    data_dir: Path | None
    cert: Path | None
    key: Path | None
    cors: str
    allow_host: Sequence[str] = ()

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise click.UsageError("--cert and --key belong together.")

    def arguments(self) -> list[str]:
        """The options as a command line says them, with absolute paths."""
        found = ["--host", self.host, "--port", str(self.port)]
        for option, path in (
            ("--data-dir", self.data_dir),
            ("--cert", self.cert),
            ("--key", self.key),
        ):
            if path is not None:
                found += [option, str(path.absolute())]
        for name in self.allow_host:
            found += [OPTION, name]
        return [*found, "--cors", self.cors] if self.cors else found


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


def places_of(data_dir: Path | None, env: Mapping[str, str] = os.environ) -> Locations:
    """The places of the gateway with this data directory; None leaves it to the environment."""
    given = {} if data_dir is None else {"DCF_DATA_DIR": str(data_dir)}
    return Locations.from_mapping({**env, **given})
