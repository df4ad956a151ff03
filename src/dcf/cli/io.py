"""Reads request bodies and writes reply bodies, for `run` and `call`."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from dcf.cli.console import Console
from dcf.cli.exit_codes import ExitCode
from dcf.cli.options import Option
from dcf.client.answer import Answer
from dcf.errors import NO_SPACE, DiskFull, StorageError

SHOWN = 2000
"""Maximum number of characters of a request or reply to show on a terminal."""

CHUNK = 256 * 1024
"""Maximum number of bytes to read from a pipe at a time."""

Body = bytes | BinaryIO | Iterator[bytes]
"""A request body: bytes, an open file, or an iterator of parts."""

input_: Option = click.option(
    "--input",
    "input_",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the request's body. [default: standard input]",
)

reply: Option = click.option(
    "--reply",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write the reply's bytes to. [default: standard output]",
)

headers: Option = click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header."
)


def headers_of(texts: Sequence[str]) -> dict[str, str]:
    """Parse headers in the form ``NAME: VALUE``.

    Raises:
        click.BadParameter: If a header has another form.
    """
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or not name.strip().isascii():
            raise click.BadParameter(f"expected 'NAME: VALUE', got {text!r}", param_hint="--header")
        headers[name.strip()] = value.strip()
    return headers


def read_file(path: Path) -> bytes:
    """Read the file of ``--input``.

    Raises:
        click.BadParameter: If the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def read_stdin(console: Console) -> bytes:
    """Read standard input to its end."""
    if sys.stdin is None:
        return b""
    if sys.stdin.isatty():
        console.print("Type the request here; Ctrl-D ends it.")
    return sys.stdin.buffer.read()


@contextlib.contextmanager
def opened(path: Path | None, console: Console) -> Iterator[Body]:
    """Open a request's body, so that it can be sent while it is read.

    Input from a terminal is read to its end first.

    Args:
        path: The file of ``--input``; None for standard input.
        console: Tells the user at a terminal what to do.

    Raises:
        click.BadParameter: If the file cannot be opened.
    """
    if path is not None:
        with open_file(path) as file:
            yield _parts(file)
    elif sys.stdin is None or sys.stdin.isatty():
        yield read_stdin(console)
    else:
        yield _parts(sys.stdin.buffer)


def open_file(path: Path) -> io.BufferedReader:
    """Open the file of ``--input``.

    Raises:
        click.BadParameter: If the file cannot be opened.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _parts(file: BinaryIO) -> BinaryIO | Iterator[bytes]:
    """Return a regular file unchanged, and anything else as an iterator of available bytes."""
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    return iter(lambda: os.read(file.fileno(), CHUNK), b"")


def _unreadable(path: Path, error: OSError) -> click.BadParameter:
    return click.BadParameter(f"{path}: {error.strerror}", param_hint="--input")


def shows(reply: Path | None) -> bool:
    """Return whether to show request and reply on a terminal."""
    return reply is None and sys.stdout is not None and sys.stdout.isatty()


def preview(body: bytes) -> str:
    """Return a body as text for a terminal, truncated if it is long."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"<{len(body)} bytes>"
    text = text.removesuffix("\n")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... <{len(body)} bytes in total>"


def deliver(answer: Answer, reply: Path | None, console: Console, *, show: bool) -> None:
    """Write a reply while it arrives.

    Args:
        answer: The reply.
        reply: The file of ``--reply``; None for standard output. An incomplete reply does not
            replace the file.
        console: Describes a reply that is not text on a terminal.
        show: Whether to show the reply on a terminal.

    Raises:
        StorageError: If the reply cannot be written (:class:`DiskFull` if the disk is full).
        DcfError: Errors of reading the reply.
    """
    if show:
        _show(answer, console)
        return
    try:
        if reply is None:
            _write_stdout(answer)
        elif reply.exists() and not reply.is_file():
            # A device or a named pipe must not be replaced.
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
    """Return the exit code for a delivered reply. Print its status if that is an error."""
    if answer.status < 400:  # noqa: PLR2004  the first status that is an error
        return ExitCode.OK
    console.print(f"The handler returned status {answer.status}")
    return ExitCode.CALL


def _show(answer: Answer, console: Console) -> None:
    body = answer.read()
    console.print("Handler reply:")
    kind = answer.headers.get("content-type", "")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        console.print(f"<{len(body)} bytes of {kind}; use --reply FILE or a pipe>")
    else:
        click.echo(text)


def _write_stdout(answer: Answer) -> None:
    if sys.stdout is None:
        raise StorageError("the reply cannot be written: standard output is closed")
    _write(answer, sys.stdout.buffer)


def _write(answer: Answer, file: BinaryIO) -> None:
    """Write and flush each part, because the reader may wait for it."""
    for chunk in answer.chunks:
        file.write(chunk)
        file.flush()


def _write_file(answer: Answer, path: Path) -> None:
    """Replace ``path`` atomically with the reply."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with partial.open("wb") as file:
            file.writelines(answer.chunks)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
