"""``dcf-cli version``."""

from __future__ import annotations

import json
import platform

import click

from dcf.version import __version__


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def version(*, as_json: bool) -> None:
    """Print the version.

    \b
    Example:
      dcf-cli version
    """
    versions = {"version": __version__, "python": platform.python_version()}
    click.echo(json.dumps(versions) if as_json else f"dcf-cli {__version__}")
