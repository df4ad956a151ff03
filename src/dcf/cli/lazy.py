"""Groups that load a command's module when the command is called, not when help is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import click


class ReaderGone(Exception):
    """Nobody reads standard output any more. click would make an error of it; a pipe does not."""


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not loaded yet.

    Attributes:
        place: ``module:attribute``.
        help: Its line in the group's help; a test compares it with the command's own.
        aliases: Other names.
    """

    place: str
    help: str
    aliases: Sequence[str] = ()

    def load(self) -> click.Command:
        """The command."""
        module, _, attribute = self.place.partition(":")
        return cast("click.Command", getattr(import_module(module), attribute))


class LazyGroup(click.Group):
    """A group of commands that are loaded one by one."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **kwargs: Any) -> None:
        """A group.

        Args:
            args: As for ``click.Group``.
            lazy: The commands by name.
            kwargs: As for ``click.Group``.
        """
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order given."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name or alias, loaded."""
        for name, lazy in self.lazy.items():
            if cmd_name == name or cmd_name in lazy.aliases:
                return lazy.load()
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """The list in the help, from what is known without loading."""
        rows = [(", ".join([name, *lazy.aliases]), lazy.help) for name, lazy in self.lazy.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
