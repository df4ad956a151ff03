"""``dcf-cli gateway key``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from dcf.cli import gateway_client, gateway_options
from dcf.cli.console import Console
from dcf.cli.table import print_table


@click.command()
@click.argument("name")
@gateway_options.gateway
@gateway_options.data_dir
def create(*, name: str, gateway: str | None, data_dir: Path | None) -> None:
    """Create a key and print it. It cannot be shown again.

    With a key, a client can call functions and list them. It cannot change anything.

    \b
    Example:
      dcf-cli gateway key create laptop > laptop.key
    """
    with gateway_client.client_of(gateway, data_dir) as client:
        click.echo(client.make_key(name))


@click.command("list")
@gateway_options.gateway
@gateway_options.data_dir
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def list_(*, gateway: str | None, data_dir: Path | None, as_json: bool) -> None:
    """List the keys. Their secrets are not shown.

    \b
    Example:
      dcf-cli gateway key list
    """
    with gateway_client.client_of(gateway, data_dir) as client:
        keys = client.keys()
    rows = [(key["name"], _date(key["created"]), _date(key["revoked"])) for key in keys]
    print_table(("Name", "Created", "Revoked"), rows, as_json=as_json)


@click.command()
@click.argument("name")
@gateway_options.gateway
@gateway_options.data_dir
def revoke(*, name: str, gateway: str | None, data_dir: Path | None) -> None:
    """Revoke a key. Its open streams and calls end within about two seconds.

    \b
    Example:
      dcf-cli gateway key revoke laptop
    """
    with gateway_client.client_of(gateway, data_dir) as client:
        client.revoke_key(name)
    Console().print(f"Revoked {name}")


def _date(at: float | None) -> str:
    """Format seconds since 1970 as a date with its time zone; return "" for None."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")
