"""The address of a replica: a Unix socket or a TCP port."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNIX = re.compile(r"unix:(?P<path>[^\x00-\x1f\x7f]+)")
_TCP = re.compile(r"tcp:(?P<host>[A-Za-z0-9_.:%\[\]-]{1,255}):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on or to connect to.

    Its text is ``unix:PATH`` or ``tcp:HOST:PORT``, with an IPv6 address in brackets.

    Attributes:
        path: Path of the Unix socket; "" for TCP.
        host: Name or IP address without brackets; "" for a Unix socket.
        port: TCP port; 0 lets the system choose one to listen on. 0 for a Unix socket.
    """

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read the text of an endpoint.

        Raises:
            ValueError: If it is not ``unix:PATH`` or ``tcp:HOST:PORT``.
        """
        if unix := _UNIX.fullmatch(text):
            return cls(path=unix["path"])
        tcp = _TCP.fullmatch(text)
        if tcp is None or int(tcp["port"]) > _MAX_PORT:
            raise ValueError(f"expected unix:PATH or tcp:HOST:PORT, got {text!r:.80}")
        return cls(host=tcp["host"].strip("[]"), port=int(tcp["port"]))

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return bool(self.path)

    def __str__(self) -> str:
        if self.is_unix:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"


def unix_path(text: str) -> str:
    """Return the path of the Unix socket that a text names; "" if it names none."""
    unix = _UNIX.fullmatch(text)
    return unix["path"] if unix else ""
