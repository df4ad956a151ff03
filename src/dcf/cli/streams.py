"""``--stream`` of `run` and `call`: where messages come from and where replies go."""

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
    help="Send the input message by message, and write each reply as it comes.",
)

frames: Option = click.option(
    "--frames",
    metavar="lines|jpg|raw:N",
    help="With --stream, what a message is: a line, as when not given; a JPEG picture, as from"
    " `ffmpeg -f mjpeg -`; or N bytes.",
)


def framing(frames: str | None, *, stream: bool) -> Framing:
    """What ``--frames`` says; lines when it is not given.

    Raises:
        click.BadParameter: When it says something else.
        click.UsageError: When there is no ``--stream``.
    """
    if frames is not None and not stream:
        raise click.UsageError("--frames says what a message of --stream is, which is not given")
    return framing_of(frames or "lines")


@contextlib.contextmanager
def messages(path: Path | None, framing: Framing, console: Console) -> Iterator[Iterator[bytes]]:
    """The messages of a stream, each as soon as it is there.

    Args:
        path: The file of ``--input``; None takes standard input.
        framing: What a message is.
        console: Tells who sits at a terminal what to do.

    Raises:
        click.BadParameter: When the file cannot be opened.
    """
    if path is not None:
        with io.open_file(path) as file:
            yield framing.split(_chunks(file))
    elif sys.stdin is None:
        yield iter(())
    else:
        if sys.stdin.isatty():
            console.say("Each line that is typed here is a message; Ctrl-D ends them.")
        yield framing.split(_chunks(sys.stdin.buffer))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    # Past its buffer, whose lock a thread that reads would take to the process's end; asked for its
    # number each time, because a thread may read on when the file is closed.
    return iter(lambda: os.read(file.fileno(), io.CHUNK), b"")


class Complaints:
    """Tells of messages that had an error instead of a reply.

    Attributes:
        code: The exit code of the first of them.
    """

    def __init__(self, console: Console) -> None:
        """None so far."""
        self._console = console
        self.code = ExitCode.OK

    def __call__(self, error: DcfError) -> None:
        """One more."""
        self._console.error(error)
        self.code = self.code or exit_code(error)


def deliver(
    replies: Iterable[bytes], framing: Framing, reply: Path | None, console: Console
) -> None:
    """Passes replies on, each as it comes. Arguments and errors as for :func:`bodies.deliver`."""
    if io.shows(reply):
        for one in replies:
            click.echo(_shown(one))
        return
    chunks = (one + framing.end for one in replies)
    io.deliver(Answer(200, chunks=chunks), reply, console, show=False)


def _shown(reply: bytes) -> str:
    try:
        return reply.decode()
    except UnicodeDecodeError:
        return f"<{len(reply)} bytes>"
