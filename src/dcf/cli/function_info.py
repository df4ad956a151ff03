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
from dcf.client.client import Client
from dcf.errors import AccessDenied
from dcf.model.event import Event
from dcf.model.status import FunctionStatus, ReplicaStatus, RevisionStatus
from dcf.protocol.gateway import members_of
from dcf.protocol.http import FUNCTION_PREFIX

SHOWN = 10
"""Revisions and events that people are shown; ``--json`` has all."""


@click.command()
@remote.name
@click.option("--json", "as_json", is_flag=True, help="Print an object.")
@remote.gateway
def info(*, name: str | None, as_json: bool, gateway: str | None, token_file: Path | None) -> None:
    """Tell all about a deployed function.

    NAME is a deployed function, or with a slash its folder; without it, the only function of
    ./config.yaml.

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
        found = {
            "url": url,
            **members_of(status),
            "revisions": [members_of(one) for one in revisions],
            "events": [members_of(one) for one in events],
        }
        click.echo(json.dumps(found, indent=2))
        return
    for line in _lines(status, url, revisions, events):
        click.echo(line)


def _history(client: Client, function: str) -> tuple[list[RevisionStatus], list[Event]]:
    """Revisions and events; none for somebody without a token, who may see the rest."""
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
        (one.id, one.revision, one.state, age_text(now - one.since), _limits(one))
        for one in status.replica_list
    ])  # fmt: skip
    yield from _section("Revisions", TITLES, [revision_row(one) for one in revisions[:SHOWN]])
    yield from _section("Events", ("Time", "Revision", "Event", "Replica", "Detail"), [
        (time_text(one.at), one.revision, str(one.kind), one.replica, one.detail)
        for one in events[:SHOWN]
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
    return f"{text}; {status.serving} takes the calls"


def _canary_text(status: FunctionStatus) -> str:
    if status.canary is None:
        return ""
    return f"{status.canary} ({status.share:g} % of the calls)"


def _scaling_text(status: FunctionStatus) -> str:
    if status.by_hand:
        return "by hand"
    text = f"from {status.minimum} to {status.maximum}"
    if status.maximum > max(1, status.minimum):
        text += f", one for {status.target:g} calls under way"
    if not status.minimum:
        text += f"; none after {status.idle:g} s without a call"
    return text


def _limits(replica: ReplicaStatus) -> str:
    return ", ".join(replica.limits) + (f" ({replica.reason})" if replica.reason else "")


def _pairs(items: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{key}={value}" for key, value in items)
