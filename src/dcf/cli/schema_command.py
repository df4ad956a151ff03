"""``dcf-cli schema``."""

from __future__ import annotations

import json

import click

from dcf.project.schema import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of config.yaml.

    Editors use it to complete and check config.yaml.

    \b
    Example:
      dcf-cli schema > config.schema.json
    """
    click.echo(json.dumps(json_schema(), indent=2))
