"""Where a gateway is, and what proves that one may use it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dcf.errors import AccessDenied, GatewayUnreachable
from dcf.settings import Locations

GATEWAY = "DCF_GATEWAY"
"""Variable with the address of a gateway."""
TOKEN = "DCF_TOKEN"  # noqa: S105  a variable's name
"""Variable with a token or key."""
DEFAULT = "http://127.0.0.1:32222"

_PORTS = {"http": 80, "https": 443}
_URL = re.compile(
    r"(?P<scheme>https?)://(?:(?P<name>[A-Za-z0-9_.-]+)|\[(?P<ip>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?"
)
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gateway listens.

    Attributes:
        url: As people write it.
        host: Name or IP address; "localhost" behind a Unix socket.
        port: TCP port; 0 behind a Unix socket.
        tls: Whether to speak TLS.
        socket: Path of a Unix socket; "" for TCP.
    """

    url: str
    host: str
    port: int
    tls: bool = False
    socket: str = ""

    @property
    def authority(self) -> str:
        """The value of the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.socket or self.port == _PORTS["https" if self.tls else "http"]
        return host if usual else f"{host}:{self.port}"


class Access:
    """A gateway's address, and the token or key to use it with.

    Attributes:
        address: The address.
    """

    def __init__(
        self, url: str | None, token: str | None, env: Mapping[str, str] = os.environ
    ) -> None:
        """Finds the address. The token is sought when it is first wanted.

        Args:
            url: The address; None takes ``DCF_GATEWAY``, else the gateway of this machine.
            token: Token or key; None takes ``DCF_TOKEN``, else the file that a gateway on this
                machine has left for its user.
            env: The environment.

        Raises:
            GatewayUnreachable: When the address is none.
        """
        self.address = parse(url or env.get(GATEWAY) or DEFAULT)
        self._env = env
        self._given = token
        self._token = ""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What each request has to say.

        Raises:
            AccessDenied: When the token cannot be read, or cannot be one.
        """
        # Looked for again while there is none: a gateway may be started after its client.
        self._token = self._token or self._find()
        host = ("host", self.address.authority)
        return (host, ("authorization", f"Bearer {self._token}")) if self._token else (host,)

    def _find(self) -> str:
        found, origin = (self._given or "", "what was given")
        if not found:
            found, origin = self._env.get(TOKEN, ""), TOKEN
        if not found and not self.address.socket:
            path = Locations.from_mapping(self._env).token(self.address.host, self.address.port)
            found, origin = _content(path), str(path)
        found = found.strip()
        if found and not _VISIBLE.fullmatch(found):
            raise AccessDenied(f"{origin} is no token: it has characters that no token has")
        return found


def parse(text: str) -> Address:
    """Reads ``http://HOST:PORT``, ``https://HOST:PORT``, ``HOST:PORT`` or ``unix:PATH``.

    Raises:
        GatewayUnreachable: When it is something else.
    """
    if text.startswith("unix:"):
        return Address(text, "localhost", 0, socket=text.removeprefix("unix:"))
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    found = _URL.fullmatch(url)
    host = (found["name"] or found["ip"]) if found else ""
    port = int(found["port"] or _PORTS[found["scheme"]]) if found else 0
    if found is None or not 0 < port < 2**16:
        raise GatewayUnreachable(
            f"{text!r} is no address of a gateway; wanted is http://HOST:PORT, https://HOST:PORT,"
            " HOST:PORT or unix:PATH"
        )
    return Address(url, host, port, tls=found["scheme"] == "https")


def _content(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise AccessDenied(f"the token in {path} cannot be read: {error}") from error
