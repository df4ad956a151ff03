"""``python -m dcf.supervision --state DIR``: the composition root of the supervisor's process.

It ends in order at SIGTERM, SIGINT and SIGHUP, and at once at a second one. With ``--lifeline`` it
also ends in order when its standard input ends, because its parent is gone. Its own log goes to
standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path

from dcf.errors import AddressInUse, SupervisorRunning
from dcf.files.atomic import open_private
from dcf.net.parent import watch_parent
from dcf.supervision.descendants import adopt_orphans
from dcf.supervision.server import SupervisorServer
from dcf.supervision.state_file import StateFile
from dcf.supervision.supervisor import Supervisor
from dcf.supervision.supervisor_client import socket_of
from dcf.telemetry import logging_setup

GRACE = 30.0
"""Seconds that each stage has at a signal: the usual grace period of orchestrators."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What asks for the end."""

MAX_OPEN_FILES = 65536
"""Descriptors wanted; each process takes three. The usual soft limit of 1,024 is there for programs
that call select(2)."""


class SupervisorExit(IntEnum):
    """Why a supervisor ended by itself (64 to 78 as in BSD's sysexits.h)."""

    DONE = 0
    """All it had started was ended."""
    STATE = 73
    """Its folder or its socket could not be made."""
    TAKEN = 75
    """Another supervisor has this folder."""


def main(arguments: Sequence[str] | None = None) -> SupervisorExit:
    """Runs a supervisor.

    Args:
        arguments: The command line without the program; None takes this process's own.
    """
    given = _parser().parse_args(arguments)
    logging_setup.configure("INFO")
    state = Path(given.state).absolute()
    listen = Path(given.socket).absolute() if given.socket else socket_of(state)
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _sole(state):
            _allow_open_files()
            record = StateFile(state / "processes.json")
            record.end_leftovers()
            asyncio.run(_run(state, listen, record, given.grace, lifeline=given.lifeline))
    except SupervisorRunning as error:
        sys.stderr.write(f"{error}\n")
        return SupervisorExit.TAKEN
    except (OSError, AddressInUse) as error:
        sys.stderr.write(f"no supervisor at {state} on {listen}: {error}\n")
        return SupervisorExit.STATE
    return SupervisorExit.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dcf.supervision", description=__doc__)
    parser.add_argument("--state", required=True, help="folder for its state, socket and logs")
    parser.add_argument("--socket", help="where to listen (default: supervisor.sock in the folder)")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds for each stage to end")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    return parser


async def _run(
    state: Path, listen: Path, record: StateFile, grace: float, *, lifeline: bool
) -> None:
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(state / "logs", record)
    asked: list[asyncio.Task[None]] = []

    def ask() -> None:
        work = supervisor.kill() if asked else supervisor.shutdown(grace)
        asked.append(loop.create_task(work))

    adopt_orphans()
    loop.add_signal_handler(signal.SIGCHLD, supervisor.reap)
    for number in SIGNALS:
        loop.add_signal_handler(number, ask)
    with watch_parent(ask) if lifeline else contextlib.nullcontext():
        async with SupervisorServer(supervisor).listening(listen):
            await supervisor.finished.wait()
        await asyncio.gather(*asked)
    for number in SIGNALS:
        # All is done: nothing is left to be asked for.
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _sole(state: Path) -> Iterator[None]:
    """Holds the folder; the lock ends with this process, however that ends.

    Raises:
        SupervisorRunning: When another supervisor holds it.
    """
    descriptor = open_private(state / "lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SupervisorRunning(f"another supervisor has {state}") from error
    else:
        yield
    finally:
        os.close(descriptor)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
