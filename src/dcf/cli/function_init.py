"""``dcf-cli function init``."""

from __future__ import annotations

from pathlib import Path

import click

from dcf.project.init import init_function
from dcf.project.runtimes import runtimes


@click.command()
@click.argument("name")
@click.option(
    "-r",
    "--runtime",
    default="python",
    show_default=True,
    help=f"Language template: {', '.join(runtime.name for runtime in runtimes())}.",
)
@click.option(
    "-f",
    "--config",
    default="config.yaml",
    show_default=True,
    metavar="FILE",
    help="Name of the config file in the new folder.",
)
@click.option("-g", "--gateway", metavar="HOST:PORT", help="Gateway to write into the config.")
def init(*, name: str, runtime: str, config: str, gateway: str | None) -> None:
    """Create a function's folder, with a handler that returns its input.

    \b
    Example:
      dcf-cli function init hello-dcf --runtime python
    """
    created = init_function(
        name, runtime=runtime, parent=Path.cwd(), config_name=config, gateway=gateway
    )
    folder = created.folder.name
    click.echo(f"Directory: {folder} is created.")
    click.echo(f"Function handler created in directory: {folder}/src")
    click.echo(f"Rewrite the function handler code in {folder}/src directory")
    click.echo(f"Config file written: {config}")
