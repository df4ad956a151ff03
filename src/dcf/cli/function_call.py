"""``dcf-cli function call``."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from dcf.cli import bodies, remote, streams
from dcf.cli.console import Console
from dcf.cli.options import SECONDS
from dcf.model.status import FunctionStatus
from dcf.protocol.http import REQUEST_ID, SERVER_TIMING

_TIMING = re.compile(r"([\w-]+);dur=([0-9.]+(?:e[-+]?[0-9]+)?)")
"""A part of ``Server-Timing`` (W3C), whose durations are numbers as JSON writes them."""


@click.command()
@remote.name
@bodies.input_
@bodies.reply
@bodies.headers
@click.option(
    "--timeout",
    type=SECONDS,
    metavar="SECONDS",
    help="When the reply must be there; the function's own limit when not given.",
)
@click.option("--method", default="POST", show_default=True, help="The request's HTTP method.")
@click.option("--path", default="", help="Path and query behind the function's name.")
@click.option("--trace", is_flag=True, help="Tell where the time went.")
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
    """Call a deployed function: standard input in, the reply out.

    Both are passed on as they come. In a pipe, standard output is the reply's bytes and nothing
    else. NAME is a deployed function, or with a slash its folder; without it, the only function of
    ./config.yaml. With --stream it is many messages and replies, both ways at once.

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
        raise click.UsageError("--trace and --method are for a single call, not for --stream")
    function, client = remote.connect_for(name, gateway, token_file)
    given = bodies.headers_of(headers)
    show = bodies.shows(reply)

    def heard(_status: FunctionStatus) -> None:
        console.say(f"{function} is being started ...")

    on_wait = heard if console.is_terminal else None
    if stream:
        complaints = streams.Complaints(console)
        with (
            client,
            streams.messages(input_, framing, console) as messages,
            client.stream(
                function,
                messages,
                headers=given,
                timeout=timeout,
                path=path,
                on_error=complaints,
                on_wait=on_wait,
            ) as replies,
        ):
            streams.deliver(replies, framing, reply, console)
        return complaints.code
    with client, bodies.opened(input_, console) as body:
        if show and isinstance(body, bytes):
            console.say(f"Handler request: {bodies.preview(body)}\n")
        begin = time.monotonic()
        with client.open(
            function,
            body,
            headers=given,
            timeout=timeout,
            method=method.upper(),
            path=path,
            on_wait=on_wait,
        ) as answer:
            bodies.deliver(answer, reply, console, show=show)
        seconds = time.monotonic() - begin
    if trace:
        console.say(trace_text(seconds, answer.headers))
    return bodies.exit_code_of(answer, console)


def trace_text(seconds: float, headers: Mapping[str, str]) -> str:
    """Where the time of a call went, as a table in milliseconds.

    Args:
        seconds: From the request's first byte to the reply's last, on the client's clock.
        headers: The reply's. ``gateway`` in its Server-Timing is the time from the request's first
            byte to the reply's first one as the gateway sees it; ``queue`` and ``handler`` are
            parts of it, and what is left of it is shown as the gateway's.
    """
    told = {name: float(value) for name, value in _TIMING.findall(headers.get(SERVER_TIMING, ""))}
    total = seconds * 1000
    inside = told.get("queue", 0.0) + told.get("handler", 0.0)
    rows = {"queue": told.get("queue"), "handler": told.get("handler")}
    if "gateway" in told:
        rows["gateway"] = max(0.0, told["gateway"] - inside)
        rows["transfer"] = max(0.0, total - told["gateway"])
    rows["total"] = total
    lines = [f"{name:<10}{value:>10.2f} ms" for name, value in rows.items() if value is not None]
    if REQUEST_ID in headers:
        lines.append(f"{'request':<10}{headers[REQUEST_ID]}")
    return "\n".join(lines)
