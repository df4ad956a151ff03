"""The progress of an engine's preparation of an artifact."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

from dcf.engines.base import Engine
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.protocol.progress import Progress, ProgressKind


async def build(
    engine: Engine, artifact: Artifact, spec: FunctionSpec
) -> AsyncGenerator[Progress, None]:
    """Prepare an artifact. Closing the generator cancels the work.

    Args:
        engine: Prepares it.
        artifact: Bundle and lock, in the store.
        spec: The function.

    Raises:
        BuildError: If it cannot be prepared.
        StorageError: If it cannot be written.
    """
    queue: asyncio.Queue[Progress | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    work = loop.create_task(engine.prepare(artifact, spec, _ThreadListener(loop, queue)))
    work.add_done_callback(partial(_ended, queue))
    try:
        while True:
            step = await queue.get()
            if step is None:
                await work
                return
            yield step
    finally:
        work.cancel()


def _ended(queue: asyncio.Queue[Progress | None], work: asyncio.Task[None]) -> None:
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
