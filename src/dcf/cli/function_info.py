"""``dcf-cli function info``."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from dcf.cli import remote
from dcf.cli.function_list import status_text
from dcf.cli.function_revisions import TITLES, revision_row
from dcf.cli.table import table_lines
from dcf.cli.times import age_text, time_text
from dcf.client.gateway import Client
from dcf.errors import AccessDenied
from dcf.model.event import Event
from dcf.model.status import FunctionStatus, ReplicaStatus, RevisionStatus
from dcf.protocol.gateway import members_of
from dcf.protocol.http import FUNCTION_PREFIX

SHOWN = 10
"""Maximum number of revisions and of events in the text output; ``--json`` prints all."""


@click.command()
@remote.name
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@remote.gateway
def info(*, name: str | None, as_json: bool, gateway: str | None, token_file: Path | None) -> None:
    """Show details of a deployed function.

    NAME is a deployed function, or its folder if it contains a slash. [default: the only function
    in ./config.yaml]

    \b
    Example:
      dcf-cli function info hello-dcf
    """
    function, client = remote.connect_for(name, gateway, token_file)
    with client:
        status = client.function(function)
        revisions, events = _history(client, function)
    url = f"{client.url}{FUNCTION_PREFIX}{function}"
    if as_json:
        result = {
            "url": url,
            **members_of(status),
            "revisions": [members_of(revision) for revision in revisions],
            "events": [members_of(event) for event in events],
        }
        click.echo(json.dumps(result, indent=2))
        return
    for line in _lines(status, url, revisions, events):
        click.echo(line)


def _history(client: Client, function: str) -> tuple[list[RevisionStatus], list[Event]]:
    """Return revisions and events, or none if the caller has no token and may not see them."""
    with contextlib.suppress(AccessDenied):
        return client.revisions(function), client.events(function)
    return [], []


def _lines(
    status: FunctionStatus, url: str, revisions: Sequence[RevisionStatus], events: Sequence[Event]
) -> Iterator[str]:
    now = time.time()
    facts = {
        "Function": status.name,
        "URL": url,
        "Status": status_text(status),
        "Revision": _revision_text(status),
        "Artifact": status.artifact,
        "Canary": _canary_text(status),
        "Replicas": f"{status.ready} of {status.replicas} ready",
        "Scaling": _scaling_text(status),
        "Invocations": str(status.invocations),
        "Deployed": f"{age_text(now - status.created)} ago,"
        f" changed {age_text(now - status.updated)} ago",
        "Image": status.image,
        "Maintainer": status.maintainer,
        "Description": status.desc,
        "Labels": _pairs(status.labels.items()),
        "Annotations": _pairs(status.annotations.items()),
    }
    yield from (f"{title + ':':<13}{text}" for title, text in facts.items() if text)
    yield from _section("Replicas", ("Id", "Revision", "State", "For", "Limits"), [
        (replica.id, replica.revision, replica.state, age_text(now - replica.since),
         _limits(replica))
        for replica in status.replica_list
    ])  # fmt: skip
    yield from _section(
        "Revisions", TITLES, [revision_row(revision) for revision in revisions[:SHOWN]]
    )
    yield from _section("Events", ("Time", "Revision", "Event", "Replica", "Detail"), [
        (time_text(event.at), event.revision, str(event.kind), event.replica, event.detail)
        for event in events[:SHOWN]
    ])  # fmt: skip
    if status.failure is not None:
        yield f"\nLast failure, {age_text(now - status.failure.at)} ago: {status.failure.detail}"
        if status.failure.traceback:
            yield status.failure.traceback.rstrip()


def _section(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str | int]]
) -> Iterator[str]:
    if rows:
        yield f"\n{title}:"
        yield from (f"  {line}" for line in table_lines(columns, rows))


def _revision_text(status: FunctionStatus) -> str:
    text = f"{status.revision} ({status.state})"
    if status.serving in {None, status.revision}:
        return text
    return f"{text}; {status.serving} keeps serving"


def _canary_text(status: FunctionStatus) -> str:
    if status.canary is None:
        return ""
    return f"{status.canary} ({status.share:g} % of the calls)"


def _scaling_text(status: FunctionStatus) -> str:
    if status.by_hand:
        return "set by hand"
    text = f"from {status.minimum} to {status.maximum}"
    if status.maximum > max(1, status.minimum):
        text += f", one replica per {status.target:g} concurrent calls"
    if not status.minimum:
        text += f"; to zero after {status.idle:g} s without a call"
    return text


def _limits(replica: ReplicaStatus) -> str:
    return ", ".join(replica.limits) + (f" ({replica.reason})" if replica.reason else "")


def _pairs(items: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{key}={value}" for key, value in items)
