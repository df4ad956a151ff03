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
"""Percent."""


def _share(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """Percent of the calls, with or without the sign."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,3}(\.[0-9]{0,9})?) ?%?", text.strip())
    share = float(match[1]) if match else 0.0
    if not 0 < share < ALL:
        raise click.BadParameter(f"{text!r} is no part of the calls, such as 10%.")
    return share


@click.command()
@options.name
@options.config
@click.option(
    "--min",
    "minimum",
    type=click.IntRange(min=0),
    metavar="N",
    help="Never fewer replicas; what was said before holds when not given.",
)
@click.option(
    "--max",
    "maximum",
    type=click.IntRange(min=1),
    metavar="N",
    help="Never more replicas; what was said before holds when not given.",
)
@click.option(
    "--canary",
    callback=_share,
    metavar="PERCENT",
    help="Have it take this part of the calls, such as 10%, beside the revision that serves now.",
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
    """Deploy a function: send what has changed to the gateway, which builds and starts it.

    NAME is a function of config.yaml or a folder; without it, the only function of ./config.yaml.
    Calls are answered all the time: the replicas before go when the new ones are ready.

    \b
    Example:
      dcf-cli function deploy ./hello-dcf --min 2
      dcf-cli function deploy ./hello-dcf --canary 10%
    """
    console = Console(verbose=verbose)
    workshop = CommandContext(console, os.environ)
    located = workshop.find(name, config)
    function = located.spec.name
    with remote.connect(gateway, token_file, located.config.gateway) as client:
        console.say(f"Deploying function ({function}) to {client.url} ...")
        client.gateway_info()  # whoever must start it first is not kept waiting by a build
        with workshop.package(located, nocache=nocache, offline=offline) as package:
            course = _Course(console, waits=not no_wait)
            try:
                status = client.deploy(
                    package,
                    minimum=minimum,
                    maximum=maximum,
                    canary=canary,
                    wait=not no_wait,
                    timeout=timeout,
                    on_progress=course.heard,
                )
            except KeyboardInterrupt:
                course.interrupted(function)
                raise
            except StartError:
                rollout_output.tell_who_serves(console, client, function)
                raise
        course.done(status)
        click.echo(f"{client.url}{FUNCTION_PREFIX}{function}")


class _Course:
    """Shows how a deploy goes on."""

    def __init__(self, console: Console, *, waits: bool) -> None:
        self._console = console
        self._waits = waits
        self._revision: Progress | None = None
        self._began = 0.0

    def heard(self, progress: Progress) -> None:
        """Shows one line of the gateway's, or of the upload."""
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
        """The deploy went well."""
        console, revision = self._console, self._revision
        is_canary = revision is not None and revision.number == status.canary
        if self._waits and revision is not None:
            detail = f"{status.ready} of {status.replicas} replicas ready"
            if is_canary:
                detail = f"revision {revision.number} is ready"
            console.finished("start", detail, time.monotonic() - self._began)
        if is_canary:
            console.say(
                f"{status.name}: revision {status.canary} takes {status.share:g} % of the calls,"
                f" revision {status.revision} the others"
            )
        elif revision is None or revision.is_new:
            console.say(f"{status.name}: revision {status.revision}")
        else:
            console.say(f"{status.name}: nothing has changed, revision {status.revision} stands")

    def interrupted(self, function: str) -> None:
        """Ctrl-C was pressed."""
        if self._revision is None:
            self._console.say("The deploy is given up.")
        else:
            self._console.say(
                f"Revision {self._revision.number} is deployed, and the gateway goes on starting"
                f" it; `dcf-cli function info {function}` tells how it is."
            )
