"""Fails a test if a process or a thread outlives it."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

RUN = uuid.uuid4().hex
"""Marks every process that descends from this test run, through its environment."""


@pytest.fixture(scope="session", autouse=True)
def _marked() -> Iterator[None]:
    os.environ["TEST_RUN_MARK"] = RUN
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # The shell of a script makes background commands, and their children, ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    until = time.monotonic() + 5
    while (left := descendants(shared=True)) and time.monotonic() < until:
        time.sleep(0.02)
    del os.environ["TEST_RUN_MARK"]
    assert left == [], "processes outlived the test run"


def descendants(*, shared: bool = False) -> list[str]:
    """Return the command lines of the living processes of this test run, except its own.

    Args:
        shared: Whether to include processes that several tests share. They have SHARED_BY_TESTS in
            their environment.
    """
    commands = []
    mark = f"TEST_RUN_MARK={RUN}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if b"SHARED_BY_TESTS=" in environ and not shared:
            continue
        if mark in environ and state != "Z" and entry.name != str(os.getpid()):
            commands.append(f"{entry.name} {command}")
    return commands


@pytest.fixture(autouse=True)
def _nothing_left(_marked) -> Iterator[None]:
    threads = set(threading.enumerate())
    yield
    until = time.monotonic() + 5
    while (left := descendants() + _new_threads(threads)) and time.monotonic() < until:
        time.sleep(0.02)
    assert left == [], "processes or threads outlived the test"


def _new_threads(before: set[threading.Thread]) -> list[str]:
    return [
        thread.name
        for thread in threading.enumerate()
        if thread not in before
        and not thread.name.startswith("asyncio_")
        # grpc.aio has a single poller thread for all its servers. If a test stops every server and
        # starts a module's server again, a new poller lives as long as that server.
        and not thread.name.endswith("(_poll_wrapper)")
    ]
