"""``python -m dcf.supervision --state DIR``: the composition root of the supervisor's process.

At SIGTERM, SIGINT or SIGHUP it shuts down stage by stage; at a second signal it kills everything at
once. With ``--lifeline`` it also shuts down when its standard input ends, because its parent is
gone then. It logs to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path

from dcf.errors import SupervisorRunning
from dcf.supervision.descendants import adopt_orphans
from dcf.supervision.server import SupervisorServer
from dcf.supervision.state_file import StateFile
from dcf.supervision.supervisor import Supervisor
from dcf.supervision.supervisor_client import socket_of
from dcf.telemetry import logging_setup

GRACE = 30.0
"""Seconds that each stage has after a signal: the usual grace period of orchestrators."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals that shut the supervisor down."""

MAX_OPEN_FILES = 65536
"""Soft limit of open descriptors to set. Each process takes three, and the usual soft limit of
1,024 exists only for programs that call select(2)."""


class SupervisorExit(IntEnum):
    """Exit codes of a supervisor (64 to 78 as in BSD's sysexits.h)."""

    DONE = 0
    """It shut down and ended all its processes."""
    STATE = 73
    """Its folder or its socket could not be created."""
    TAKEN = 75
    """Another supervisor uses this folder."""


def main(arguments: Sequence[str] | None = None) -> SupervisorExit:
    """Run a supervisor until it has shut down.

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
    except OSError as error:
        sys.stderr.write(f"the supervisor of {state} cannot listen on {listen}: {error}\n")
        return SupervisorExit.STATE
    return SupervisorExit.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dcf.supervision", description=__doc__)
    parser.add_argument("--state", required=True, help="folder for its state, socket and logs")
    parser.add_argument("--socket", help="where to listen (default: supervisor.sock in the folder)")
    parser.add_argument(
        "--grace", type=_seconds, default=GRACE, help="seconds for each stage to end"
    )
    parser.add_argument(
        "--lifeline", action="store_true", help="shut down when standard input ends"
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, got {text!r}")
    return seconds


async def _run(
    state: Path, listen: Path, record: StateFile, grace: float, *, lifeline: bool
) -> None:
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(state / "logs", record)
    shutdowns: list[asyncio.Task[None]] = []

    def shut_down() -> None:
        work = supervisor.kill() if shutdowns else supervisor.shutdown(grace)
        shutdowns.append(loop.create_task(work))

    def read_lifeline() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            shut_down()

    adopt_orphans()
    loop.add_signal_handler(signal.SIGCHLD, supervisor.reap)
    if lifeline:
        loop.add_reader(0, read_lifeline)
    for number in SIGNALS:
        loop.add_signal_handler(number, shut_down)
    async with SupervisorServer(supervisor).listening(listen):
        await supervisor.finished.wait()
    await asyncio.gather(*shutdowns)
    for number in SIGNALS:
        # Nothing is left to shut down, so a late signal must not change the exit code.
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _sole(state: Path) -> Iterator[None]:
    """Lock the folder during the block. The kernel releases the lock when this process ends.

    Raises:
        SupervisorRunning: If another supervisor has locked it.
    """
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SupervisorRunning(f"another supervisor uses {state}") from error
    else:
        yield
    finally:
        os.close(descriptor)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < limit:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


if __name__ == "__main__":
    sys.exit(main())
