"""``dcf-cli function build``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from dcf.cli import options
from dcf.cli.console import Console
from dcf.cli.context import CommandContext


@click.command()
@options.name
@options.config
@options.verbose
@options.nocache
@options.offline
@options.gateway
@click.option("--json", "as_json", is_flag=True, help="Print what was built as an object.")
def build(
    *,
    name: str | None,
    config: Path | None,
    verbose: bool,
    nocache: bool,
    offline: bool,
    gateway: str | None,  # noqa: ARG001  the original's flag
    as_json: bool,
) -> None:
    """Build a function: lock its dependencies, make its environment, bundle its files.

    NAME is a function of config.yaml or a folder; without it, the only function of ./config.yaml.

    \b
    Example:
      dcf-cli function build -f config.yaml -v
    """
    console = Console(verbose=verbose)
    workshop = CommandContext(console, os.environ)
    located = workshop.find(name, config)
    console.say(f"Building function ({located.spec.name}) ...")
    built = workshop.build(located, nocache=nocache, offline=offline)
    if as_json:
        found = {
            "function": located.spec.name,
            "artifact": built.artifact.digest,
            "bundle": built.artifact.bundle,
            "lock": built.artifact.lock,
            "environment": built.environment.key,
            "fresh": built.fresh,
        }
        click.echo(json.dumps(found, indent=2))
    state = "nothing has changed" if built.fresh else "built"
    console.say(f"{located.spec.name}: {state}, {built.artifact.digest[:19]}")
