"""Groups that load a command's module when the command runs, not when help is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import click


class ReaderGone(Exception):
    """The reader of standard output has exited. click would report an error; a pipe should not."""


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not loaded yet.

    Attributes:
        place: Where the command is, as ``module:attribute``.
        help: Its line in the group's help. A test compares it with the command's own help.
        aliases: Other names of the command.
    """

    place: str
    help: str
    aliases: Sequence[str] = ()

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.place.partition(":")
        return cast("click.Command", getattr(import_module(module), attribute))


class LazyGroup(click.Group):
    """A group whose commands are loaded on demand."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **kwargs: Any) -> None:
        """Create a group.

        Args:
            args: As for ``click.Group``.
            lazy: The commands by name.
            kwargs: As for ``click.Group``.
        """
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of ``lazy``."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command with a name or alias."""
        for name, lazy in self.lazy.items():
            if cmd_name == name or cmd_name in lazy.aliases:
                return lazy.load()
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands without loading them."""
        rows = [(", ".join([name, *lazy.aliases]), lazy.help) for name, lazy in self.lazy.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
