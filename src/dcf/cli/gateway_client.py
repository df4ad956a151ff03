"""Which gateway a command means, and how it is reached."""

from __future__ import annotations

from pathlib import Path

from dcf.client.gateway import Client
from dcf.dataplane.bootstrap import Sockets
from dcf.errors import AccessDenied, GatewayUnreachable
from dcf.gateway.address_file import GatewayAddress, find
from dcf.gateway.start_options import places_of
from dcf.settings import Locations


def address_of(places: Locations) -> GatewayAddress:
    """Where the gateway of a data directory is.

    Raises:
        GatewayUnreachable: When none runs there.
    """
    address = find(places)
    if address is None:
        raise GatewayUnreachable(f"no gateway runs with the data directory {places.data}")
    return address


def client_of(gateway: str | None, data_dir: Path | None) -> Client:
    """A client of the gateway that is meant: a data directory is nearer than an address.

    With a data directory it goes to the control plane itself, whatever stands in the certificate.

    Raises:
        GatewayUnreachable: When none runs with the data directory.
    """
    if gateway and data_dir is None:
        return Client(gateway)
    places = places_of(data_dir)
    address_of(places)
    control = Sockets.under(places.gateway_runtime).control
    return Client(f"unix:{control}", token_in(token_file(places)))


def token_file(places: Locations) -> Path:
    """Where the gateway of a data directory keeps its management token."""
    return places.gateway / "token"


def token_in(file: Path) -> str:
    """The token that a gateway has written.

    Raises:
        AccessDenied: When it cannot be read.
    """
    try:
        return file.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no token"
        raise AccessDenied(f"the token in {file} cannot be read: {reason}") from error
