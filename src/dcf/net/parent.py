"""Notice that the parent process is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

STANDARD_INPUT = 0


@contextlib.contextmanager
def watch_parent(on_exit: Callable[[], None], descriptor: int = STANDARD_INPUT) -> Iterator[None]:
    """Call a function of the running event loop's thread once the parent is gone.

    The parent holds the other end of this process's standard input, a pipe. The kernel closes it
    when the parent ends for any reason, SIGKILL included. What the parent writes is ignored.

    Args:
        on_exit: Called at most once, within the context.
        descriptor: Reading end of the pipe.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(descriptor, 1024):
            loop.remove_reader(descriptor)
            on_exit()

    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
