"""``dcf-cli gateway token``."""

from __future__ import annotations

from pathlib import Path

import click

from dcf.cli import gateway_client, gateway_options
from dcf.client import address
from dcf.gateway.start_options import places_of


@click.command()
@gateway_options.gateway
@gateway_options.data_dir
def token(*, gateway: str | None, data_dir: Path | None) -> None:
    """Print the management token.

    A deploy runs code as the gateway's user, so treat the token like that user's password.

    \b
    Example:
      dcf-cli gateway token
      curl -H "Authorization: Bearer $(dcf-cli gateway token)" http://127.0.0.1:32222/system/keys
    """
    places = places_of(data_dir)
    file = gateway_client.token_file(places)
    if gateway and data_dir is None:
        parsed = address.parse(gateway)
        file = places.token(parsed.host, parsed.port)
    click.echo(gateway_client.token_in(file))
