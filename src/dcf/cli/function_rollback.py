"""``dcf-cli function rollback``."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from dcf.cli import remote, rollout_output
from dcf.cli.console import Console
from dcf.errors import DcfError


def _complete_revision(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    given = ctx.params.get("gateway"), ctx.params.get("token_file")
    try:
        with remote.connect_here(*given, timeout=remote.COMPLETION_TIMEOUT) as client:
            numbers = [str(item.number) for item in client.revisions(ctx.params["name"])]
    except (DcfError, click.ClickException):
        return []
    return [CompletionItem(number) for number in numbers if number.startswith(incomplete)]


@click.command()
@click.argument("name", shell_complete=remote.complete_name)
@click.argument(
    "revision", type=click.IntRange(min=1), required=False, shell_complete=_complete_revision
)
@rollout_output.no_wait
@rollout_output.timeout
@remote.gateway
def rollback(
    *,
    name: str,
    revision: int | None,
    no_wait: bool,
    timeout: float,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Return to an earlier revision: REVISION, or the previous one.

    NAME is a deployed function, or its folder if it contains a slash. No call fails meanwhile: the
    current revision keeps serving until the other replicas are ready. A canary ends.

    \b
    Example:
      dcf-cli function rollback hello-dcf
      dcf-cli function rollback hello-dcf 3
    """
    function, client = remote.connect_for(name, gateway, token_file)
    with client:
        status = rollout_output.serve(
            lambda: client.rollback(function, revision, wait=not no_wait, timeout=timeout),
            client,
            function,
            what=f"revision {revision}" if revision else "the previous revision",
            waits=not no_wait,
        )
    Console().print(f"{function}: back to revision {status.revision}")
