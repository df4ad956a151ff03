"""Entry point. Only this module turns errors into hints and exit codes."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from dcf.cli.commands import root
from dcf.cli.console import Console
from dcf.cli.exit_codes import ExitCode, exit_code
from dcf.cli.lazy import ReaderGone
from dcf.errors import NO_SPACE, DcfError, DiskFull


class Terminated(BaseException):
    """SIGTERM arrived. It unwinds the stack as Ctrl-C does, so that all resources are released."""


def main() -> NoReturn:
    """Run the command line and exit the process."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: Arguments without the program's name; None for those of the process.

    Returns:
        The exit code.
    """
    try:
        code = root.main(arguments, prog_name="dcf-cli", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort:
        code = ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except DcfError as error:
        Console(verbose="-v" in sys.argv or "--verbose" in sys.argv).error(error)
        code = exit_code(error)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Terminated:
        code = ExitCode.TERMINATED
    except (BrokenPipeError, ReaderGone):
        # The reader of the pipe has exited, as `| head` does. Python would report that again when
        # it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        code = _out_of_space(error)
    return int(code or ExitCode.OK)


def _out_of_space(error: OSError) -> ExitCode:
    if _stdout_is_full():
        Console().print(f"Error: standard output cannot be written: {error.strerror}")
    else:
        place = f": {error.filename}" if error.filename else ""
        Console().error(DiskFull(f"no space is left on the disk{place}"))
    return ExitCode.STORAGE


def _stdout_is_full() -> bool:
    """Return whether output is still buffered because the disk is full, and drop it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
