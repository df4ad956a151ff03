"""``dcf-cli function deploy``."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import click

from dcf.cli import options, remote, rollout_output
from dcf.cli.console import Console
from dcf.cli.context import CommandContext
from dcf.errors import StartError
from dcf.model.status import FunctionStatus
from dcf.protocol.http import FUNCTION_PREFIX
from dcf.protocol.progress import Progress, ProgressKind

ALL = 100.0
"""All calls, in percent."""


def _share(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """Parse a percentage, with or without ``%``."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,3}(\.[0-9]{0,9})?) ?%?", text.strip())
    share = float(match[1]) if match else 0.0
    if not 0 < share < ALL:
        raise click.BadParameter(f"expected a part of the calls such as 10%, got {text!r}")
    return share


@click.command()
@options.name
@options.config
@click.option(
    "--min",
    "minimum",
    type=click.IntRange(min=0),
    metavar="N",
    help="Minimum number of replicas. [default: unchanged]",
)
@click.option(
    "--max",
    "maximum",
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum number of replicas. [default: unchanged]",
)
@click.option(
    "--canary",
    callback=_share,
    metavar="PERCENT",
    help="Send this part of the calls to the new revision, such as 10%. The current revision serves"
    " the rest.",
)
@rollout_output.no_wait
@rollout_output.timeout
@options.nocache
@options.offline
@options.verbose
@remote.gateway
def deploy(
    *,
    name: str | None,
    config: Path | None,
    minimum: int | None,
    maximum: int | None,
    canary: float | None,
    no_wait: bool,
    timeout: float,
    nocache: bool,
    offline: bool,
    verbose: bool,
    gateway: str | None,
    token_file: Path | None,
) -> None:
    """Deploy a function: send changed files to the gateway, which builds and starts the function.

    NAME is a function in config.yaml or a folder. [default: the only function in ./config.yaml] No
    call fails meanwhile: the previous revision keeps serving until the new replicas are ready.

    \b
    Example:
      dcf-cli function deploy ./hello-dcf --min 2
      dcf-cli function deploy ./hello-dcf --canary 10%
    """
    console = Console(verbose=verbose)
    context = CommandContext(console, os.environ)
    located = context.find(name, config)
    function = located.spec.name
    with remote.connect(gateway, token_file, located.config.gateway) as client:
        console.print(f"Deploying function ({function}) to {client.url} ...")
        client.gateway_info()  # fail before the build if no gateway runs
        with context.package(located, nocache=nocache, offline=offline) as package:
            progress = _DeployProgress(console, waits=not no_wait)
            try:
                status = client.deploy(
                    package,
                    minimum=minimum,
                    maximum=maximum,
                    canary=canary,
                    wait=not no_wait,
                    timeout=timeout,
                    on_progress=progress.show,
                )
            except KeyboardInterrupt:
                progress.interrupted(function)
                raise
            except StartError:
                rollout_output.show_serving(console, client, function)
                raise
        progress.done(status)
        click.echo(f"{client.url}{FUNCTION_PREFIX}{function}")


class _DeployProgress:
    """Prints the progress of a deploy."""

    def __init__(self, console: Console, *, waits: bool) -> None:
        self._console = console
        self._waits = waits
        self._revision: Progress | None = None
        self._began = 0.0

    def show(self, progress: Progress) -> None:
        """Print a step of the gateway or of the upload."""
        console = self._console
        match progress.kind:
            case ProgressKind.STARTED:
                console.started(progress.step, progress.detail)
            case ProgressKind.FINISHED:
                console.finished(progress.step, progress.detail, progress.seconds)
            case ProgressKind.NOTICE:
                console.notice(progress.detail)
            case ProgressKind.OUTPUT:
                console.output(progress.detail)
            case ProgressKind.REVISION:
                self._revision = progress
                self._began = time.monotonic()
                if self._waits:
                    console.started("start", f"revision {progress.number}")

    def done(self, status: FunctionStatus) -> None:
        """Print the result of a successful deploy."""
        console, revision = self._console, self._revision
        is_canary = revision is not None and revision.number == status.canary
        if self._waits and revision is not None:
            detail = f"{status.ready} of {status.replicas} replicas ready"
            if is_canary:
                detail = f"revision {revision.number} is ready"
            console.finished("start", detail, time.monotonic() - self._began)
        if is_canary:
            console.print(
                f"{status.name}: revision {status.canary} takes {status.share:g} % of the calls,"
                f" revision {status.revision} takes the rest"
            )
        elif revision is None or revision.is_new:
            console.print(f"{status.name}: revision {status.revision}")
        else:
            console.print(f"{status.name}: unchanged, revision {status.revision} keeps serving")

    def interrupted(self, function: str) -> None:
        """Print what happens after Ctrl-C."""
        if self._revision is None:
            self._console.print("The deploy was cancelled.")
        else:
            self._console.print(
                f"The gateway continues to start revision {self._revision.number}. To see its"
                f" status, run `dcf-cli function info {function}`."
            )
