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
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON object.")
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
    """Build a function: lock its dependencies, create its environment, bundle its files.

    NAME is a function in config.yaml or a folder. [default: the only function in ./config.yaml]

    \b
    Example:
      dcf-cli function build -f config.yaml -v
    """
    console = Console(verbose=verbose)
    context = CommandContext(console, os.environ)
    located = context.find(name, config)
    console.print(f"Building function ({located.spec.name}) ...")
    built = context.build(located, nocache=nocache, offline=offline)
    if as_json:
        result = {
            "function": located.spec.name,
            "artifact": built.artifact.digest,
            "bundle": built.artifact.bundle,
            "lock": built.artifact.lock,
            "environment": built.environment.key,
            "fresh": built.fresh,
        }
        click.echo(json.dumps(result, indent=2))
    state = "unchanged" if built.fresh else "built"
    console.print(f"{located.spec.name}: {state}, {built.artifact.digest[:19]}")
