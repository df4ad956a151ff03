"""``dcf-cli runtime list``."""

from __future__ import annotations

import click

from dcf.cli.table import print_table
from dcf.project.runtimes import runtimes


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def list_(*, as_json: bool) -> None:
    """List the runtimes.

    \b
    Example:
      dcf-cli runtime list --json
    """
    rows = [(runtime.name, runtime.description) for runtime in runtimes()]
    print_table(("Runtime", "Description"), rows, as_json=as_json)
