"""Paths of everything that the project keeps on this machine."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dcf.errors import ConfigError, Problem

SOCKET_PATH_LIMIT = 100
"""Maximum length of a socket's path in bytes. ``sun_path`` holds 108 on Linux and 104 on macOS,
including the final NUL; the rest is margin."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]", "0.0.0.0", "::", "[::]", ""})  # noqa: S104  names, nothing is bound
"""Hosts that mean this machine to a client on the same machine."""


@dataclass(frozen=True, slots=True)
class Locations:
    """The folders of the project on this machine. All other paths are derived from them.

    Attributes:
        data: What must last: blobs, environments, locks, the gateway's catalog.
        runtime: Sockets and reservations. Short, private, and removed by a reboot.
        secrets: The user's folder of secret files, one file per secret.
        state: What the user's commands share: gateways' tokens.
    """

    data: Path
    runtime: Path
    secrets: Path
    state: Path

    @classmethod
    def from_mapping(cls, env: Mapping[str, str], platform: str = sys.platform) -> Self:
        """Return the locations for an environment.

        ``DCF_DATA_DIR``, ``DCF_RUNTIME_DIR``, ``DCF_SECRETS_DIR`` and ``DCF_STATE_DIR`` win over
        the XDG Base Directory variables on Linux and over ``~/Library`` on macOS. An empty variable
        counts as unset, as the XDG specification requires.

        Args:
            env: The environment.
            platform: As in ``sys.platform``.

        Raises:
            ConfigError: If a folder depends on the user's home directory, which is unknown.
        """

        def folder(variable: str, xdg: str, default: str, name: str) -> Path:
            if own := env.get(variable):
                return Path(own).absolute()
            if platform == "darwin":
                parent = _home(env, variable) / "Library" / "Application Support"
            elif base := env.get(xdg):
                parent = Path(base)
            else:
                parent = _home(env, variable) / default
            return (parent / name).absolute()

        run = Path(env.get("XDG_RUNTIME_DIR") or env.get("TMPDIR") or "/tmp")  # noqa: S108  made private on use
        private = "dcf" if env.get("XDG_RUNTIME_DIR") else f"dcf-{os.getuid()}"
        return cls(
            data=folder("DCF_DATA_DIR", "XDG_DATA_HOME", ".local/share", "dcf"),
            runtime=Path(env.get("DCF_RUNTIME_DIR") or run / private).absolute(),
            secrets=folder("DCF_SECRETS_DIR", "XDG_CONFIG_HOME", ".config", "dcf/secrets"),
            state=folder("DCF_STATE_DIR", "XDG_STATE_HOME", ".local/state", "dcf"),
        )

    @property
    def store(self) -> Path:
        """The builder's store."""
        return self.data / "store"

    @property
    def workspaces(self) -> Path:
        """Folders of running replicas. Beside the store, so that large files can be hard links."""
        return self.data / "workspaces"

    @property
    def gpu_locks(self) -> Path:
        """Lock files of the GPUs that a process has reserved."""
        return self.runtime / "gpus"

    @property
    def replicas(self) -> Path:
        """Folders of a gateway's replicas, which outlive its control plane.

        Beside the store too, for the same reason as :attr:`workspaces`.
        """
        return self.data / "replicas"

    @property
    def gateway(self) -> Path:
        """What a gateway keeps beside the store: its catalog, its secret, its processes' logs."""
        return self.data / "gateway"

    @property
    def gateway_runtime(self) -> Path:
        """A gateway's sockets: one folder with a short name for each data directory."""
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        return self.runtime / f"gateway-{name}"

    @property
    def calls(self) -> Path:
        """Folder of the call tables. It is in memory, so that writing to them never waits."""
        return self.gateway_runtime / "calls"

    def token(self, host: str, port: int) -> Path:
        """Return the file with the management token of the gateway at an address.

        Args:
            host: The host as clients on this machine write it. All names of loopback share a file.
            port: The port.
        """
        name = "127.0.0.1" if host in LOOPBACK else host.strip("[]")
        return self.state / "tokens" / f"{name}:{port}"


def _home(env: Mapping[str, str], variable: str) -> Path:
    """Return the user's home directory, on which the default of ``variable`` depends."""
    if home := env.get("HOME"):
        return Path(home)
    try:
        return Path.home()
    except RuntimeError:
        message = (
            "expected the user's home directory, got nothing, and the user database has no entry"
            f" for user {os.getuid()}; set HOME, or {variable}"
        )
        raise ConfigError(Path("HOME"), [Problem(0, 0, message)]) from None
