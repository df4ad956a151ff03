"""Which gateway and which deployed function are meant, for the commands that ask a gateway."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from dcf.cli.options import Option
from dcf.client import address
from dcf.client.client import TIMEOUT, Client
from dcf.errors import DcfError
from dcf.model.names import check_name
from dcf.project.config import CONFIG_NAME, gateway_of
from dcf.project.locate import locate

COMPLETION_TIMEOUT = 0.2
"""Seconds that a shell waits for names."""

_gateway: Option = click.option(
    "-g",
    "--gateway",
    metavar="ADDRESS",
    help="Gateway as host:port or URL; else DCF_GATEWAY, the config file's, 127.0.0.1:32222.",
)

_token_file: Option = click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File with the token; else DCF_TOKEN, or what a gateway on this machine has left.",
)


def gateway(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which gateway is meant, and what proves that one may use it."""
    return _gateway(_token_file(command))


def connect(
    gateway: str | None,
    token_file: Path | None,
    configured: str | None = None,
    *,
    timeout: float = TIMEOUT,
) -> Client:
    """A client of the gateway that is meant; it has not asked anything yet.

    Args:
        gateway: The address of ``--gateway``. Then comes ``DCF_GATEWAY``.
        token_file: The file of ``--token-file``.
        configured: The address that a config file names. Then comes the default.
        timeout: Seconds that a request may take.

    Raises:
        GatewayUnreachable: When the address is none.
        click.BadParameter: When the token's file cannot be read.
    """
    url = gateway or os.environ.get(address.GATEWAY) or configured
    return Client(url, None if token_file is None else _token(token_file), timeout=timeout)


def connect_here(
    gateway: str | None, token_file: Path | None, *, timeout: float = TIMEOUT
) -> Client:
    """The same where no folder is named: the config file is that of this one, if there is any.

    Raises:
        ConfigError: When that file is asked for the address and cannot be read.
    """
    asked = gateway or os.environ.get(address.GATEWAY)
    configured = None if asked else gateway_of(Path.cwd() / CONFIG_NAME)
    return connect(gateway, token_file, configured, timeout=timeout)


def connect_for(
    name: str | None, gateway: str | None, token_file: Path | None
) -> tuple[str, Client]:
    """A deployed function's name, and a client of its gateway.

    Args:
        name: The function's name, or with a ``/`` its folder; None takes the only function of
            ./config.yaml.
        gateway: The address of ``--gateway``.
        token_file: The file of ``--token-file``.

    Raises:
        ProjectError: When that is no function, or its config file does not hold.
        GatewayUnreachable: When the address is none.
        click.BadParameter: When the token's file cannot be read.
    """
    if name is not None and "/" not in name:
        return check_name(name), connect_here(gateway, token_file)
    located = locate(name, None, Path.cwd())
    return located.spec.name, connect(gateway, token_file, located.config.gateway)


def complete_name(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of deployed functions, if the gateway tells them at once."""
    given = ctx.params.get("gateway"), ctx.params.get("token_file")
    try:
        with connect_here(*given, timeout=COMPLETION_TIMEOUT) as client:
            names = [one.name for one in client.functions()]
    except (DcfError, click.ClickException):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


name: Option = click.argument("name", required=False, shell_complete=complete_name)
"""A deployed function; see :func:`connect_for`."""


def _token(path: Path) -> str:
    try:
        token = path.read_text("ascii").strip()
    except (OSError, ValueError):
        token = ""
    if not token:
        raise click.BadParameter(f"{path} has no token in it", param_hint="--token-file")
    return token
