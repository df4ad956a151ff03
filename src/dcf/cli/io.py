"""Where a request's body comes from and where a reply's body goes, for `run` and `call`."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from dcf.cli.console import Console
from dcf.cli.exit_codes import ExitCode
from dcf.cli.options import Option
from dcf.client.answer import Answer
from dcf.errors import NO_SPACE, DiskFull, StorageError
from dcf.files.atomic import replacing

SHOWN = 2000
"""Characters of a request or reply that a terminal is shown."""

CHUNK = 256 * 1024
"""Bytes read from a pipe at a time, at most."""

Body = bytes | BinaryIO | Iterator[bytes]
"""What can be sent: as a whole, from a file, or part by part."""

input_: Option = click.option(
    "--input",
    "input_",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The request's body; standard input when not given.",
)

reply: Option = click.option(
    "--reply",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the reply's bytes go; standard output when not given.",
)

headers: Option = click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header."
)


def headers_of(given: Sequence[str]) -> dict[str, str]:
    """The headers that were given as ``NAME: VALUE``.

    Raises:
        click.BadParameter: When one is something else.
    """
    found = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or not name.strip().isascii():
            raise click.BadParameter(f"{text!r} is not 'NAME: VALUE'", param_hint="--header")
        found[name.strip()] = value.strip()
    return found


def read_file(path: Path) -> bytes:
    """The whole of the file of ``--input``.

    Raises:
        click.BadParameter: When it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def read_stdin(console: Console) -> bytes:
    """The whole of standard input."""
    if sys.stdin is None:
        return b""
    if sys.stdin.isatty():
        console.say("The request is read from this terminal; Ctrl-D ends it.")
    return sys.stdin.buffer.read()


@contextlib.contextmanager
def opened(path: Path | None, console: Console) -> Iterator[Body]:
    """A request's body that can be sent while it is read; a terminal is read to its end first.

    Args:
        path: The file of ``--input``; None takes standard input.
        console: Tells who sits at a terminal what to do.

    Raises:
        click.BadParameter: When the file cannot be opened.
    """
    if path is not None:
        with open_file(path) as file:
            yield _parts(file)
    elif sys.stdin is None or sys.stdin.isatty():
        yield read_stdin(console)
    else:
        yield _parts(sys.stdin.buffer)


def open_file(path: Path) -> io.BufferedReader:
    """The file of ``--input``.

    Raises:
        click.BadParameter: When it cannot be opened.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _parts(file: BinaryIO) -> BinaryIO | Iterator[bytes]:
    """A file whose size is known as it is; of anything else what is there, as it comes."""
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    return iter(lambda: os.read(file.fileno(), CHUNK), b"")


def _unreadable(path: Path, error: OSError) -> click.BadParameter:
    return click.BadParameter(f"{path}: {error.strerror}", param_hint="--input")


def shows(reply: Path | None) -> bool:
    """Whether somebody at a terminal is to be shown request and reply."""
    return reply is None and sys.stdout is not None and sys.stdout.isatty()


def preview(body: bytes) -> str:
    """A body for a terminal, cut where it is long."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"<{len(body)} bytes>"
    text = text.removesuffix("\n")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... <{len(body)} bytes in all>"


def deliver(answer: Answer, reply: Path | None, console: Console, *, show: bool) -> None:
    """Passes a reply on, as it comes.

    Args:
        answer: The reply.
        reply: The file of ``--reply``; None writes to standard output. A reply that breaks off
            replaces no file.
        console: Tells a reader at a terminal what is no text.
        show: Whether there is one.

    Raises:
        StorageError: When it cannot be written; :class:`DiskFull` among them.
        DcfError: What reading the reply raises.
    """
    if show:
        _show(answer, console)
        return
    try:
        if reply is None:
            _write_stdout(answer)
        elif reply.exists() and not reply.is_file():
            # A device or a named pipe is written to, never replaced.
            with reply.open("wb") as file:
                _write(answer, file)
        else:
            _write_file(answer, reply)
    except BrokenPipeError:
        raise
    except OSError as error:
        kind = DiskFull if error.errno in NO_SPACE else StorageError
        place = reply or "standard output"
        raise kind(f"the reply cannot be written to {place}: {error.strerror}") from error


def exit_code_of(answer: Answer, console: Console) -> ExitCode:
    """The exit code for a reply that was delivered; an error's status is told."""
    if answer.status < 400:  # noqa: PLR2004  the first status that is an error
        return ExitCode.OK
    console.say(f"The handler answered with status {answer.status}")
    return ExitCode.CALL


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
    _write(answer, sys.stdout.buffer)


def _write(answer: Answer, file: BinaryIO) -> None:
    """Writes each part at once: somebody may be waiting for it."""
    for chunk in answer.chunks:
        file.write(chunk)
        file.flush()


def _write_file(answer: Answer, path: Path) -> None:
    """Writes the reply beside ``path`` first."""
    with replacing(path, mode=None) as file:
        file.writelines(answer.chunks)
