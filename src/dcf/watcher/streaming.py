"""A reply that comes in chunks: the writer's side, the same for both kinds of lane."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from dcf.errors import BadRequest, CallError, HandlerRaised, UnsupportedReply
from dcf.function.reply import encode_chunk
from dcf.watcher.call import Call
from dcf.watcher.pipe import ChunkPipe
from dcf.watcher.tracebacks import author_traceback, summary, type_name

Answered = Callable[[Call], None]
"""Hands a call back to the server's loop: its outcome is there. From any thread."""


def handler_error(error: BaseException) -> CallError:
    """What the caller is told when the handler raised ``error``."""
    if isinstance(error, BadRequest | UnsupportedReply):
        return error
    return HandlerRaised(summary(error), type_name(error), author_traceback(error))


class StreamedReply:
    """The chunks of one call's reply.

    The call is handed back with the first chunk; until then a failure still has its own status.
    """

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop, answered: Answered) -> None:
        self._call = call
        self._answered = answered
        self._pipe = ChunkPipe(loop)

    @property
    def abandoned(self) -> bool:
        """Whether nobody reads any more."""
        return self._pipe.abandoned or self._call.request.cancelled

    def put(self, value: Any, when_room: Callable[[], object]) -> bool:
        """Sends one value.

        Args:
            value: What the generator yielded.
            when_room: Called from the loop once there is room again, if there is none now.

        Returns:
            Whether there is room for more.

        Raises:
            UnsupportedReply: When the value cannot be sent.
        """
        has_room = self._pipe.put(encode_chunk(value), when_room)
        self._open()
        return has_room or self.abandoned

    def end(self, failure: BaseException | None) -> None:
        """The generator has ended, or failed with ``failure``."""
        call = self._call
        call.finished = time.monotonic()
        error = None if failure is None else handler_error(failure)
        if error is not None and call.pipe is None:
            call.outcome, call.answered = error, call.finished
            self._answered(call)
            return
        self._pipe.finish(error)
        self._open()

    def _open(self) -> None:
        if self._call.pipe is None:
            self._call.pipe, self._call.answered = self._pipe, time.monotonic()
            self._answered(self._call)
