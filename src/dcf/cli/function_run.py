"""``dcf-cli function run``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from dcf.cli import options
from dcf.cli.console import Console
from dcf.cli.exits import ExitCode
from dcf.cli.workshop import Workshop
from dcf.client.watcher import Answer, WatcherClient
from dcf.engines.local.replica import LocalReplica
from dcf.errors import NO_SPACE, DiskFull, ReplicaLost, StorageError
from dcf.settings import WatcherSettings

SHOWN = 2000
"""Characters of a request or reply that a terminal is shown."""

MARGIN = 10.0
"""Seconds that the client waits longer than the watcher, which alone enforces the deadline."""


@click.command()
@options.name
@options.config
@click.option(
    "--input",
    "input_",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The request's body; standard input when not given.",
)
@click.option(
    "--reply",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the reply's bytes go; standard output when not given.",
)
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header."
)
@options.require_gpu
@options.start_timeout
@options.nocache
@options.offline
@options.verbose
@options.gateway
def run(
    *,
    name: str | None,
    config: Path | None,
    input_: Path | None,
    reply: Path | None,
    headers: Sequence[str],
    require_gpu: bool,
    start_timeout: float,
    nocache: bool,
    offline: bool,
    verbose: bool,
    gateway: str | None,  # noqa: ARG001  the original's flag
) -> int:
    """Run a function once on this machine: standard input in, the reply out.

    Builds what is stale first. In a pipe, standard output is the reply's bytes and nothing else.

    \b
    Example:
      echo "Hello" | dcf-cli function run hello-dcf
      dcf-cli function run ssd --input photo.jpg --reply boxes.json
    """
    console = Console(verbose=verbose)
    workshop = Workshop(console, os.environ)
    located = workshop.find(name, config)
    request_headers = _headers(headers)
    body = None if input_ is None else _read_file(input_)
    built = workshop.build(located, nocache=nocache, offline=offline)
    with (
        workshop.gpus(located.spec, required=require_gpu) as devices,
        workshop.stage(located, built) as staged,
    ):
        console.say(f"Starting {located.spec.name} on this machine")
        settings = WatcherSettings(lifeline=True, log_level="CRITICAL")
        replica = workshop.start(staged, settings, devices)
        grace = 0.5
        try:
            # First this: a handler that cannot start must not wait for somebody to type.
            endpoint = replica.wait_ready(start_timeout)
            body = _read_stdin(console) if body is None else body
            timeout = (located.spec.timeout or settings.timeout) + settings.grace + MARGIN
            show = reply is None and sys.stdout is not None and sys.stdout.isatty()
            if show:
                console.say(f"Handler request: {_preview(body)}\n")
            answer = _call(replica, WatcherClient(endpoint, timeout), body, request_headers)
            _deliver(answer, reply, console, show=show)
            grace = settings.grace
        finally:
            replica.stop(grace)
    if answer.status >= 400:  # noqa: PLR2004  the first status that is an error
        console.say(f"The handler answered with status {answer.status}")
        return ExitCode.CALL
    return ExitCode.OK


def _headers(given: Sequence[str]) -> dict[str, str]:
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or not name.strip().isascii():
            raise click.BadParameter(f"{text!r} is not 'NAME: VALUE'", param_hint="--header")
        headers[name.strip()] = value.strip()
    return headers


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise click.BadParameter(message, param_hint="--input") from error


def _read_stdin(console: Console) -> bytes:
    if sys.stdin is None:
        return b""
    if sys.stdin.isatty():
        console.say("The request is read from this terminal; Ctrl-D ends it.")
    return sys.stdin.buffer.read()


def _call(
    replica: LocalReplica, client: WatcherClient, body: bytes, headers: dict[str, str]
) -> Answer:
    try:
        answer = client.call(body, headers=headers)
    except ReplicaLost as error:
        raise replica.why_lost(error) from error
    answer.chunks = _explained(answer.chunks, replica)
    return answer


def _explained(chunks: Iterator[bytes], replica: LocalReplica) -> Iterator[bytes]:
    try:
        yield from chunks
    except ReplicaLost as error:
        raise replica.why_lost(error) from error


def _deliver(answer: Answer, reply: Path | None, console: Console, *, show: bool) -> None:
    if show:
        _show(answer, console)
        return
    try:
        if reply is None:
            _write_stdout(answer)
        elif reply.exists() and not reply.is_file():
            # A device or a named pipe is written to, never replaced.
            with reply.open("wb") as file:
                file.writelines(answer.chunks)
        else:
            _write_file(answer, reply)
    except BrokenPipeError:
        raise
    except OSError as error:
        kind = DiskFull if error.errno in NO_SPACE else StorageError
        place = reply or "standard output"
        raise kind(f"the reply cannot be written to {place}: {error.strerror}") from error


def _show(answer: Answer, console: Console) -> None:
    body = answer.read()
    console.say("Handler reply:")
    kind = answer.headers.get("content-type", "")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        console.say(f"<{len(body)} bytes of {kind}; --reply FILE or a pipe takes them>")
    else:
        click.echo(text)


def _write_stdout(answer: Answer) -> None:
    if sys.stdout is None:
        raise StorageError("the reply cannot be written: standard output is closed")
    out = sys.stdout.buffer
    for chunk in answer.chunks:
        out.write(chunk)
        out.flush()


def _write_file(answer: Answer, path: Path) -> None:
    """Writes the reply beside ``path`` first: a reply that breaks off replaces nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with partial.open("wb") as file:
            file.writelines(answer.chunks)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _preview(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"<{len(body)} bytes>"
    text = text.removesuffix("\n")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... <{len(body)} bytes in all>"
