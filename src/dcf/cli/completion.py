"""``dcf-cli completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dcf.cli.commands import root


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option(
    "--program",
    type=click.Choice(["dcf-cli", "dcf"]),
    default="dcf-cli",
    show_default=True,
    help="Name of the command to complete.",
)
def completion(*, shell: str, program: str) -> None:
    """Print a shell's completion script.

    \b
    Example:
      dcf-cli completion bash >> ~/.bashrc
    """
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"the installed click has no completion for {shell}")
    click.echo(kind(root, {}, program, variable).source())
