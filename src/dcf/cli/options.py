"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from dcf.errors import DcfError
from dcf.project.config import load_config
from dcf.settings.parsing import YEAR, SecondsRule

Option = Callable[[Callable[..., Any]], Callable[..., Any]]


class SecondsType(click.ParamType):  # type: ignore[type-arg]  # older versions of click take none
    """A duration in seconds. Rejects NaN, infinity and more than a year, unlike click's floats."""

    name = "seconds"

    def __init__(self, *, above: bool) -> None:
        """Create a type.

        Args:
            above: Whether 0 is too small.
        """
        self._rule = SecondsRule(most=YEAR, above=above)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number of seconds."""
        try:
            return self._rule.parse(str(value))
        except ValueError:
            shown = self._rule.shown(str(value))
            self.fail(f"expected {self._rule.expected}, got {shown}", param, ctx)


SECONDS = SecondsType(above=True)
SECONDS_OR_ZERO = SecondsType(above=False)


def _complete_name(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    path = Path(ctx.params.get("config") or "config.yaml")
    try:
        names = list(load_config(path).functions)
    except DcfError:
        names = [path.parent.name for path in Path().glob("*/config.yaml")]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


name: Option = click.argument("name", required=False, shell_complete=_complete_name)

config: Option = click.option(
    "-f",
    "--config",
    type=click.Path(path_type=Path),
    help="The config.yaml of the function.",
)

gateway: Option = click.option(
    "-g",
    "--gateway",
    help="Gateway as host:port. Accepted for compatibility; this command does not use it.",
)

verbose: Option = click.option(
    "-v", "--verbose", is_flag=True, help="Show the output of the resolver and the installer."
)

nocache: Option = click.option(
    "--nocache",
    is_flag=True,
    help="Ignore cached results and build again. The lock stays.",
)

offline: Option = click.option(
    "--offline", is_flag=True, help="Do not use the network. Use only what is cached."
)

require_gpu: Option = click.option(
    "--require-gpu", is_flag=True, help="Fail if no GPU is available, instead of using the CPU."
)

start_timeout: Option = click.option(
    "--start-timeout",
    type=SECONDS,
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time for the handler's constructor.",
)
