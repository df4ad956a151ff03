"""Selects the gateway and the deployed function that a command is for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from dcf.cli.options import Option
from dcf.client import address
from dcf.client.gateway import TIMEOUT, Client
from dcf.errors import DcfError
from dcf.model.names import check_name
from dcf.project.config import CONFIG_NAME, gateway_of
from dcf.project.locate import locate

COMPLETION_TIMEOUT = 0.2
"""Maximum seconds that a shell waits for names to complete."""

_gateway: Option = click.option(
    "-g",
    "--gateway",
    metavar="ADDRESS",
    help="Gateway as host:port or URL. [default: DCF_GATEWAY, then the config file's gateway, then"
    " 127.0.0.1:32222]",
)

_token_file: Option = click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File with the token. [default: DCF_TOKEN, then the token of the gateway on this machine]",
)


def gateway(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select a gateway and its token."""
    return _gateway(_token_file(command))


def connect(
    gateway: str | None,
    token_file: Path | None,
    configured: str | None = None,
    *,
    timeout: float = TIMEOUT,
) -> Client:
    """Return a client of the selected gateway. It connects on first use.

    Args:
        gateway: The address of ``--gateway``; ``DCF_GATEWAY`` comes next.
        token_file: The file of ``--token-file``.
        configured: The address in a config file; the default comes next.
        timeout: Maximum seconds of a request.

    Raises:
        GatewayUnreachable: If the address is invalid.
        click.BadParameter: If the token's file cannot be read.
    """
    url = gateway or os.environ.get(address.GATEWAY) or configured
    return Client(url, None if token_file is None else _token(token_file), timeout=timeout)


def connect_here(
    gateway: str | None, token_file: Path | None, *, timeout: float = TIMEOUT
) -> Client:
    """Return a client as :func:`connect` does, with the config file of the current folder, if any.

    Raises:
        ConfigError: If the config file is needed and cannot be read.
    """
    explicit = gateway or os.environ.get(address.GATEWAY)
    configured = None if explicit else gateway_of(Path.cwd() / CONFIG_NAME)
    return connect(gateway, token_file, configured, timeout=timeout)


def connect_for(
    name: str | None, gateway: str | None, token_file: Path | None
) -> tuple[str, Client]:
    """Return a deployed function's name and a client of its gateway.

    Args:
        name: The function's name, or its folder if it contains ``/``; None for the only function
            in ./config.yaml.
        gateway: The address of ``--gateway``.
        token_file: The file of ``--token-file``.

    Raises:
        ProjectError: If the name, the folder or its config file is invalid.
        GatewayUnreachable: If the address is invalid.
        click.BadParameter: If the token's file cannot be read.
    """
    if name is not None and "/" not in name:
        return check_name(name), connect_here(gateway, token_file)
    located = locate(name, None, Path.cwd())
    return located.spec.name, connect(gateway, token_file, located.config.gateway)


def complete_name(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the names of deployed functions, if the gateway answers quickly."""
    given = ctx.params.get("gateway"), ctx.params.get("token_file")
    try:
        with connect_here(*given, timeout=COMPLETION_TIMEOUT) as client:
            names = [function.name for function in client.functions()]
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
        raise click.BadParameter(
            f"expected a token in {path}, got an empty or unreadable file",
            param_hint="--token-file",
        )
    return token
