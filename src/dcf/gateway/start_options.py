"""The options of ``gateway start``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcf.protocol.hosts import OPTION
from dcf.settings import Locations


@dataclass(frozen=True, slots=True)
class StartOptions:
    """The options of ``gateway start`` and ``gateway unit``.

    Attributes:
        host: Address or name to listen on.
        port: Port to listen on.
        data_dir: Data directory; None selects that of the environment.
        cert: PEM file of a certificate chain; None turns TLS off.
        key: PEM file of its private key.
        cors: Origins that browsers may call from, separated by commas.
        allow_host: Further names that the ``Host`` header of a request may have.
    """

    host: str
    port: int
    data_dir: Path | None
    cert: Path | None
    key: Path | None
    cors: str
    allow_host: Sequence[str] = ()

    def arguments(self) -> list[str]:
        """Return the options as command line arguments, with absolute paths."""
        arguments = ["--host", self.host, "--port", str(self.port)]
        for option, path in (
            ("--data-dir", self.data_dir),
            ("--cert", self.cert),
            ("--key", self.key),
        ):
            if path is not None:
                arguments += [option, str(path.absolute())]
        for name in self.allow_host:
            arguments += [OPTION, name]
        return [*arguments, "--cors", self.cors] if self.cors else arguments


def places_of(data_dir: Path | None, env: Mapping[str, str] = os.environ) -> Locations:
    """Return the locations of a gateway.

    Args:
        data_dir: Data directory; None selects that of the environment.
        env: Environment variables.
    """
    given = {} if data_dir is None else {"DCF_DATA_DIR": str(data_dir)}
    return Locations.from_mapping({**env, **given})
