"""Run a build in a thread, and yield its progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from dcf.builder.builder import Builder
from dcf.builder.uv import BuildStop
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.protocol.progress import Progress, ProgressKind


async def build(
    builder: Builder, artifact: Artifact, spec: FunctionSpec
) -> AsyncGenerator[Progress, None]:
    """Build the environment of an artifact. Closing the generator cancels the build cleanly.

    Args:
        builder: Builds environments.
        artifact: Bundle and lock, in the store.
        spec: The function, with the Python version that it requires.

    Raises:
        BuildError: If the environment cannot be built.
        StorageError: If it cannot be written to the disk.
    """
    queue: asyncio.Queue[Progress | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    listener, stop = _ThreadListener(loop, queue), BuildStop()
    # A build may wait long, so it gets its own thread and does not occupy the shared pool.
    executor = ThreadPoolExecutor(1, thread_name_prefix="build")
    work = loop.run_in_executor(
        executor, partial(builder.build_artifact, artifact, spec, listener=listener, stop=stop)
    )
    executor.shutdown(wait=False)
    work.add_done_callback(partial(_ended, queue))
    try:
        while True:
            step = await queue.get()
            if step is None:
                await work
                return
            yield step
    finally:
        stop.set()


def _ended(queue: asyncio.Queue[Progress | None], work: asyncio.Future[object]) -> None:
    if not work.cancelled():
        work.exception()  # retrieve it: otherwise asyncio logs it if the client has disconnected
    queue.put_nowait(None)


class _ThreadListener:
    """Passes the progress of a build from its thread to the event loop.

    It implements ``dcf.builder.build_progress.Listener``.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Progress | None]
    ) -> None:
        self._loop = loop
        self._queue = queue

    def _emit(self, progress: Progress) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, progress)

    def started(self, step: str, detail: str) -> None:
        self._emit(Progress(ProgressKind.STARTED, step=step, detail=detail))

    def finished(self, step: str, detail: str, seconds: float) -> None:
        self._emit(Progress(ProgressKind.FINISHED, step=step, detail=detail, seconds=seconds))

    def notice(self, text: str) -> None:
        self._emit(Progress(ProgressKind.NOTICE, detail=text))

    def output(self, line: str) -> None:
        self._emit(Progress(ProgressKind.OUTPUT, detail=line))
