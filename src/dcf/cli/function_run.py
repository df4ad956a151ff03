"""``dcf-cli function run``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import click

from dcf.cli import io, options, streams
from dcf.cli.console import Console
from dcf.cli.context import CommandContext
from dcf.cli.replica_start import replica_start
from dcf.cli.replicas import CommandReplica
from dcf.client.response import Response
from dcf.client.watcher import WatcherClient
from dcf.errors import ReplicaLost
from dcf.settings import WatcherSettings

MARGIN = 10.0
"""Seconds that the client waits longer than the watcher, which enforces the deadline."""


@click.command()
@options.name
@options.config
@io.input_
@io.reply
@io.headers
@streams.stream
@streams.frames
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
    stream: bool,
    frames: str | None,
    require_gpu: bool,
    start_timeout: float,
    nocache: bool,
    offline: bool,
    verbose: bool,
    gateway: str | None,  # noqa: ARG001  the original's flag
) -> int:
    """Run a function once on this machine: standard input in, the reply out.

    Builds what is stale first. In a pipe, standard output is the reply's bytes and nothing else.
    With --stream, messages and replies pass both ways at once.

    \b
    Example:
      echo "Hello" | dcf-cli function run hello-dcf
      dcf-cli function run ssd --input photo.jpg --reply boxes.json
      tail -f log.txt | dcf-cli function run shout --stream
    """
    console = Console(verbose=verbose)
    framing = streams.framing(frames, stream=stream)
    context = CommandContext(console, os.environ)
    located = context.find(name, config)
    request_headers = io.headers_of(headers)
    body = None if input_ is None or stream else io.read_file(input_)
    if input_ is not None and stream:
        io.open_file(input_).close()
    built = context.build(located, nocache=nocache, offline=offline)
    settings = WatcherSettings(log_level="CRITICAL", start_timeout=start_timeout)
    with replica_start(context, settings, require_gpu=require_gpu) as start:
        console.print(f"Starting {located.spec.name} on this machine")
        replica = start(located, built)
        # Wait first: if the handler cannot start, do not ask for input.
        endpoint = replica.wait_ready()
        timeout = (located.spec.timeout or settings.timeout) + settings.grace + MARGIN
        client = WatcherClient(endpoint, timeout)
        if stream:
            errors = streams.MessageErrors(console)
            with (
                streams.messages(input_, framing, console) as messages,
                contextlib.closing(
                    _stream(replica, client, messages, request_headers, errors)
                ) as replies,
            ):
                streams.deliver(replies, framing, reply, console)
            code = errors.code
        else:
            body = io.read_stdin(console) if body is None else body
            show = io.shows(reply)
            if show:
                console.print(f"Handler request: {io.preview(body)}\n")
            answer = _call(replica, client, body, request_headers)
            io.deliver(answer, reply, console, show=show)
            code = io.exit_code_of(answer, console)
        replica.stop(settings.grace)
    return code


def _stream(
    replica: CommandReplica,
    client: WatcherClient,
    messages: Iterable[bytes],
    headers: dict[str, str],
    errors: streams.MessageErrors,
) -> Generator[bytes]:
    try:
        with client.stream(messages, headers=headers, on_error=errors) as replies:
            yield from replies
    except ReplicaLost as error:
        raise replica.explain(error) from error


def _call(
    replica: CommandReplica, client: WatcherClient, body: bytes, headers: dict[str, str]
) -> Response:
    try:
        answer = client.call(body, headers=headers)
    except ReplicaLost as error:
        raise replica.explain(error) from error
    answer.chunks = _explained(answer.chunks, replica)
    return answer


def _explained(chunks: Iterator[bytes], replica: CommandReplica) -> Iterator[bytes]:
    try:
        yield from chunks
    except ReplicaLost as error:
        raise replica.explain(error) from error
