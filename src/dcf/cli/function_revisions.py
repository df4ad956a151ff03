"""``dcf-cli function revisions``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from dcf.cli import remote
from dcf.cli.table import print_table
from dcf.cli.times import age_text
from dcf.model.status import RevisionStatus
from dcf.protocol.gateway import members_of

TITLES = ("Number", "Artifact", "Age", "Serves")


@click.command()
@remote.name
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@remote.gateway
def revisions(
    *, name: str | None, as_json: bool, gateway: str | None, token_file: Path | None
) -> None:
    """List a function's revisions, newest first.

    NAME is a deployed function, or its folder if it contains a slash. [default: the only function
    in ./config.yaml]

    \b
    Example:
      dcf-cli function revisions hello-dcf
    """
    function, client = remote.connect_for(name, gateway, token_file)
    with client:
        listed = client.revisions(function)
    if as_json:
        click.echo(json.dumps([members_of(revision) for revision in listed], indent=2))
        return
    print_table(TITLES, [revision_row(revision) for revision in listed], as_json=False)


def revision_row(revision: RevisionStatus) -> tuple[str | int, ...]:
    """Return a revision's row in a table with :data:`TITLES`."""
    serves = "current" if revision.current else ""
    if revision.share is not None:
        serves = f"canary, {revision.share:g} %"
    age = age_text(time.time() - revision.created)
    return revision.number, revision.artifact, age, serves
