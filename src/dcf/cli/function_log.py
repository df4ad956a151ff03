"""``dcf-cli function log``."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from dcf.cli import remote
from dcf.cli.console import Console
from dcf.cli.log_follow import following
from dcf.model.status import ReplicaLine
from dcf.project.quantities import DURATION_PATTERN, seconds


def _moment(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> float:
    """Parse a time or an age; return seconds since 1970, or 0 without a value."""
    if text is None:
        return 0.0
    if re.fullmatch(DURATION_PATTERN, text):
        return time.time() - seconds(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        expected = "90s, 10m, 2h or a time such as 2026-11-23T10:00:00"
        raise click.BadParameter(f"expected {expected}, got {text!r}") from error


@click.command()
@remote.name
@click.option("--follow", is_flag=True, help="Print new lines until Ctrl-C.")
@click.option(
    "--since",
    callback=_moment,
    metavar="TIME",
    help="Skip older lines: 90s, 10m, 2h, or a time such as 2026-11-23T10:00:00.",
)
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Print the last N lines.")
@click.option("--replica", default="", metavar="ID", help="Print only the lines of this replica.")
@remote.gateway
def log(
    *,
    name: str | None,
    follow: bool,
    since: float,
    tail: int | None,
    replica: str,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Print the logs of a function's replicas, ordered by time.

    NAME is a deployed function, or its folder if it contains a slash. [default: the only function
    in ./config.yaml]

    \b
    Example:
      dcf-cli function log hello-dcf --since 10m
      dcf-cli function log hello-dcf --follow --tail 20
    """
    function, client = remote.connect_for(name, gateway, token_file)
    with client:
        if follow:
            lines = following(client, function, Console(), since=since, tail=tail, replica=replica)
        else:
            lines = client.logs(function, since=since, tail=tail, replica=replica)
        for line in lines:
            click.echo(line_text(line))


def line_text(line: ReplicaLine) -> str:
    """Return a log line for people. click removes the colours if the output is not a terminal."""
    at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
    begin = click.style(f"{at.removesuffix('+00:00')}Z {line.replica}", dim=True)
    return f"{begin} {line.text}"
