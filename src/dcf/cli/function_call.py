"""``dcf-cli function call``."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from dcf.cli import io, remote, streams
from dcf.cli.console import Console
from dcf.model.status import FunctionStatus
from dcf.protocol.http import REQUEST_ID, SERVER_TIMING

_TIMING = re.compile(r"([\w-]+);dur=([0-9.]+(?:e[-+]?[0-9]+)?)")
"""A metric in ``Server-Timing`` (W3C). Durations are numbers in JSON's notation."""


@click.command()
@remote.name
@io.input_
@io.reply
@io.headers
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Maximum time until the reply. [default: the function's own time limit]",
)
@click.option("--method", default="POST", show_default=True, help="The request's HTTP method.")
@click.option("--path", default="", help="Path and query after the function's name.")
@click.option("--trace", is_flag=True, help="Show how long each part of the call took.")
@streams.stream
@streams.frames
@remote.gateway
def call(
    *,
    name: str | None,
    input_: Path | None,
    reply: Path | None,
    headers: Sequence[str],
    timeout: float | None,
    method: str,
    path: str,
    trace: bool,
    stream: bool,
    frames: str | None,
    gateway: str | None,
    token_file: Path | None,
) -> int:
    """Call a deployed function: send standard input, print the reply.

    Bytes are passed on unchanged. In a pipe, standard output is the reply and nothing else. NAME is
    a deployed function, or its folder if it contains a slash. [default: the only function in
    ./config.yaml] With --stream, messages and replies flow in both directions at once.

    \b
    Example:
      echo "Hello" | dcf-cli function call hello-dcf
      dcf-cli function call ssd --input photo.jpg --reply boxes.json --trace
      tail -f log.txt | dcf-cli function call shout --stream
      ffmpeg -i in.mp4 -f mjpeg - | dcf-cli function call ssd --stream --frames jpg | ffplay -
    """
    console = Console()
    framing = streams.framing(frames, stream=stream)
    if stream and (trace or method.upper() != "POST"):
        raise click.UsageError("--trace and --method cannot be used with --stream")
    function, client = remote.connect_for(name, gateway, token_file)
    request_headers = io.headers_of(headers)
    show = io.shows(reply)

    def show_start(_status: FunctionStatus) -> None:
        console.print(f"Starting {function} ...")

    on_wait = show_start if console.is_terminal else None
    if stream:
        errors = streams.MessageErrors(console)
        with (
            client,
            streams.messages(input_, framing, console) as messages,
            client.stream(
                function,
                messages,
                headers=request_headers,
                timeout=timeout,
                path=path,
                on_error=errors,
                on_wait=on_wait,
            ) as replies,
        ):
            streams.deliver(replies, framing, reply, console)
        return errors.code
    with client, io.opened(input_, console) as body:
        if show and isinstance(body, bytes):
            console.print(f"Handler request: {io.preview(body)}\n")
        begin = time.monotonic()
        with client.open(
            function,
            body,
            headers=request_headers,
            timeout=timeout,
            method=method.upper(),
            path=path,
            on_wait=on_wait,
        ) as answer:
            io.deliver(answer, reply, console, show=show)
        seconds = time.monotonic() - begin
    if trace:
        console.print(trace_text(seconds, answer.headers))
    return io.exit_code_of(answer, console)


def trace_text(seconds: float, headers: Mapping[str, str]) -> str:
    """Return a table of how long each part of a call took, in milliseconds.

    Args:
        seconds: Time from the request's first byte to the reply's last, on the client's clock.
        headers: The reply's headers. In Server-Timing, ``gateway`` is the time from the request's
            first byte to the reply's first byte, measured in the gateway. It includes ``queue`` and
            ``handler``; the table shows the rest as the gateway's own time.
    """
    metrics = {
        name: float(value) for name, value in _TIMING.findall(headers.get(SERVER_TIMING, ""))
    }
    total = seconds * 1000
    inside = metrics.get("queue", 0.0) + metrics.get("handler", 0.0)
    rows = {"queue": metrics.get("queue"), "handler": metrics.get("handler")}
    if "gateway" in metrics:
        rows["gateway"] = max(0.0, metrics["gateway"] - inside)
        rows["transfer"] = max(0.0, total - metrics["gateway"])
    rows["total"] = total
    lines = [f"{name:<10}{value:>10.2f} ms" for name, value in rows.items() if value is not None]
    if REQUEST_ID in headers:
        lines.append(f"{'request':<10}{headers[REQUEST_ID]}")
    return "\n".join(lines)
