"""The address of a gateway, and the token for it."""

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
    r"(?P<scheme>https?)://(?:(?P<name>[A-Za-z0-9_.-]+)|\[(?P<ip>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\])(?::(?P<port>[0-9]{1,5}))?"
)
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gateway or a watcher listens.

    Attributes:
        url: The address as a user writes it.
        host: Name or IP address; "localhost" for a Unix socket.
        port: TCP port; 0 for a Unix socket.
        tls: Whether to use TLS.
        socket: Path of a Unix socket; "" for TCP.
        verify: Whether to check the server's certificate and its host name.
    """

    url: str
    host: str
    port: int
    tls: bool = False
    socket: str = ""
    verify: bool = True

    @property
    def authority(self) -> str:
        """The value of the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.socket or self.port == _PORTS["https" if self.tls else "http"]
        return host if is_default else f"{host}:{self.port}"


class Credentials:
    """The token or key for a gateway. It is looked up on first use."""

    def __init__(
        self, address: Address, token: str | None, env: Mapping[str, str] = os.environ
    ) -> None:
        """Set where the token comes from.

        Args:
            address: The gateway's address.
            token: Token or key; None uses ``DCF_TOKEN``, or else the file that a gateway on this
                machine has written for its user.
            env: The environment.
        """
        self._address = address
        self._given = token
        self._env = env
        self._token = ""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that every request needs: ``Host``, and the token if there is one.

        Raises:
            AccessDenied: When the token cannot be read or is not valid.
        """
        # While there is no token, it is looked up again: a gateway may start after its client.
        self._token = self._token or self._find()
        host = ("host", self._address.authority)
        return (host, ("authorization", f"Bearer {self._token}")) if self._token else (host,)

    def _find(self) -> str:
        token, origin = (self._given or "", "the given token")
        if not token:
            token, origin = self._env.get(TOKEN, ""), TOKEN
        if not token and not self._address.socket:
            path = Locations.from_mapping(self._env).token(self._address.host, self._address.port)
            token, origin = _content(path), str(path)
        token = token.strip()
        if token and not _VISIBLE.fullmatch(token):
            raise AccessDenied(
                f"{origin}: expected a token of visible ASCII characters, got other characters"
            )
        return token


def find(url: str | None, env: Mapping[str, str] = os.environ) -> Address:
    """Return the address of a gateway: ``url``, ``DCF_GATEWAY`` or the gateway of this machine.

    Raises:
        GatewayUnreachable: When the address is not valid.
    """
    return parse(url or env.get(GATEWAY) or DEFAULT)


def parse(text: str) -> Address:
    """Parse ``http://HOST:PORT``, ``https://HOST:PORT``, ``HOST:PORT`` or ``unix:PATH``.

    Raises:
        GatewayUnreachable: When the text is something else.
    """
    if text.startswith("unix:"):
        return Address(text, "localhost", 0, socket=text.removeprefix("unix:"))
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    match = _URL.fullmatch(url)
    host = (match["name"] or match["ip"]) if match else ""
    port = int(match["port"] or _PORTS[match["scheme"]]) if match else 0
    if match is None or not 0 < port < 2**16:
        raise GatewayUnreachable(
            "expected the address of a gateway (http://HOST:PORT, https://HOST:PORT, HOST:PORT or"
            f" unix:PATH), got {text!r}"
        )
    return Address(url, host, port, tls=match["scheme"] == "https")


def of_endpoint(endpoint: str) -> Address:
    """Parse ``unix:PATH`` or ``tcp:HOST:PORT``, as a watcher reports it.

    Raises:
        GatewayUnreachable: When the text is something else.
    """
    return parse(endpoint.removeprefix("tcp:"))


def _content(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise AccessDenied(f"the token in {path} cannot be read: {error}") from error
