"""``dcf-cli prune``."""

from __future__ import annotations

import os
from functools import partial

import click

from dcf.builder.build_progress import size_text
from dcf.builder.prune import prune as prune_store
from dcf.builder.store import Store
from dcf.cli.console import Console
from dcf.cli.table import print_table
from dcf.settings import Locations


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, but delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def prune(*, dry_run: bool, as_json: bool) -> None:
    """Delete cached files that no function uses.

    Environments, files and locks stay while the folder of a function that was built with them
    exists, a replica runs on them, or a gateway needs them.

    \b
    Example:
      dcf-cli prune --dry-run
    """
    store = Store.at(Locations.from_mapping(os.environ))
    wait = partial(Console().print, "Waiting for a build to finish")
    pruned = prune_store(store, dry_run=dry_run, on_wait=wait)
    if as_json or pruned.items:
        rows = [(item.kind, item.name, item.size) for item in pruned.items]
        print_table(("Kind", "Name", "Bytes"), rows, as_json=as_json)
    if not as_json:
        verb = "would be freed" if dry_run else "freed"
        click.echo(f"{size_text(pruned.freed)} {verb}")
