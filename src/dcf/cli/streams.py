"""``--stream`` of `run` and `call`: reads messages and writes replies."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import click

from dcf.cli import io
from dcf.cli.console import Console
from dcf.cli.exit_codes import ExitCode, exit_code
from dcf.cli.framing import Framing, framing_of
from dcf.cli.options import Option
from dcf.client.answer import Answer
from dcf.errors import DcfError

stream: Option = click.option(
    "--stream",
    is_flag=True,
    help="Send the input message by message, and write each reply as it arrives.",
)

frames: Option = click.option(
    "--frames",
    metavar="lines|jpg|raw:N",
    help="How --stream splits its input into messages: lines, JPEG pictures as from"
    " `ffmpeg -f mjpeg -`, or pieces of N bytes. [default: lines]",
)


def framing(frames: str | None, *, stream: bool) -> Framing:
    """Parse ``--frames``. The default is lines.

    Raises:
        click.BadParameter: If the value is unknown.
        click.UsageError: If ``--stream`` is missing.
    """
    if frames is not None and not stream:
        raise click.UsageError("--frames can only be used with --stream")
    return framing_of(frames or "lines")


@contextlib.contextmanager
def messages(path: Path | None, framing: Framing, console: Console) -> Iterator[Iterator[bytes]]:
    """Open the messages of a stream. Each is available as soon as it has arrived.

    Args:
        path: The file of ``--input``; None for standard input.
        framing: Splits the input into messages.
        console: Tells the user at a terminal what to do.

    Raises:
        click.BadParameter: If the file cannot be opened.
    """
    if path is not None:
        with io.open_file(path) as file:
            yield framing.split(_chunks(file))
    elif sys.stdin is None:
        yield iter(())
    else:
        if sys.stdin.isatty():
            console.print("Each line that you type is a message; Ctrl-D ends the stream.")
        yield framing.split(_chunks(sys.stdin.buffer))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    # Reads bypass the file's buffer: a reading thread would hold its lock until the process exits.
    # fileno() is called each time, because a thread may still read when the file is closed.
    return iter(lambda: os.read(file.fileno(), io.CHUNK), b"")


class MessageErrors:
    """Prints the errors of messages that got no reply.

    Attributes:
        code: The exit code of the first error.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.code = ExitCode.OK

    def __call__(self, error: DcfError) -> None:
        """Print an error."""
        self._console.error(error)
        self.code = self.code or exit_code(error)


def deliver(
    replies: Iterable[bytes], framing: Framing, reply: Path | None, console: Console
) -> None:
    """Write each reply as it arrives. Arguments and errors: see :func:`dcf.cli.io.deliver`."""
    if io.shows(reply):
        for message in replies:
            click.echo(_shown(message))
        return
    chunks = (message + framing.end for message in replies)
    io.deliver(Answer(200, chunks=chunks), reply, console, show=False)


def _shown(reply: bytes) -> str:
    try:
        return reply.decode()
    except UnicodeDecodeError:
        return f"<{len(reply)} bytes>"
