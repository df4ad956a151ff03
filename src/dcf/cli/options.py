"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from dcf.errors import DcfError
from dcf.project.config import load_config

Option = Callable[[Callable[..., Any]], Callable[..., Any]]


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
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time for the handler's constructor.",
)
