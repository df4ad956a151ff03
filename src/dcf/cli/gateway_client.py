"""Selects and connects to the gateway that a ``gateway`` command is for."""

from __future__ import annotations

from pathlib import Path

from dcf.client.gateway import Client
from dcf.dataplane.bootstrap import Sockets
from dcf.errors import AccessDenied, GatewayUnreachable
from dcf.gateway.address_file import GatewayAddress, find
from dcf.gateway.start_options import places_of
from dcf.settings import Locations


def address_of(places: Locations) -> GatewayAddress:
    """Return the address of the gateway of a data directory.

    Raises:
        GatewayUnreachable: If no gateway runs there.
    """
    address = find(places)
    if address is None:
        raise GatewayUnreachable(f"no gateway runs with the data directory {places.data}")
    return address


def client_of(gateway: str | None, data_dir: Path | None) -> Client:
    """Return a client of a gateway. A data directory takes precedence over an address.

    With a data directory, the client connects to the control plane's socket, so the name in the
    gateway's certificate does not matter.

    Raises:
        GatewayUnreachable: If no gateway runs with the data directory.
    """
    if gateway and data_dir is None:
        return Client(gateway)
    places = places_of(data_dir)
    address_of(places)
    control = Sockets.under(places.gateway_runtime).control
    return Client(f"unix:{control}", token_in(token_file(places)))


def token_file(places: Locations) -> Path:
    """Return the path of the gateway's management token."""
    return places.gateway / "token"


def token_in(file: Path) -> str:
    """Read the token that a gateway has written.

    Raises:
        AccessDenied: If the token cannot be read.
    """
    try:
        return file.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a token"
        raise AccessDenied(f"the token in {file} cannot be read: {reason}") from error
