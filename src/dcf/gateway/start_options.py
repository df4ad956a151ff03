"""The options that a gateway is started with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcf.protocol.hosts import OPTION
from dcf.settings import Locations


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


def places_of(data_dir: Path | None, env: Mapping[str, str] = os.environ) -> Locations:
    """The places of the gateway with this data directory; None leaves it to the environment."""
    given = {} if data_dir is None else {"DCF_DATA_DIR": str(data_dir)}
    return Locations.from_mapping({**env, **given})
