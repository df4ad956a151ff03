"""A reply that comes in chunks: the writer's side, the same for both kinds of lane."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from dcf.errors import BadRequest, CallError, HandlerRaised, UnsupportedReply
from dcf.function.reply import Encoded
from dcf.protocol.content import framing
from dcf.protocol.stream import StreamFailure
from dcf.watcher.call import Call
from dcf.watcher.execution.response_stream import ResponseStream
from dcf.watcher.http.stream_encoders import RAW, choose
from dcf.watcher.tracebacks import author_traceback, summary, type_name

Answered = Callable[[Call], None]
"""Hands a call back to the server's loop: its outcome is there. From any thread."""


def handler_error(error: BaseException) -> CallError:
    """What the caller is told when the handler raised ``error``."""
    if isinstance(error, BadRequest | UnsupportedReply):
        return error
    return HandlerRaised(summary(error), type_name(error), author_traceback(error))


class StreamedReply:
    """The messages of one call's reply.

    The call is handed back with the first of them; until then a failure still has its own status.
    """

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop, answered: Answered) -> None:
        self._call = call
        self._answered = answered
        self._pipe = ResponseStream(loop)
        self._has_content = True
        if call.form is None:
            reply, call.form = call.outcome, RAW
            if isinstance(reply, Encoded):
                call.form = choose(call.request, reply)
                head = call.request.method == "HEAD"
                _, self._has_content = framing(reply.status, None, head=head)
        self._form = call.form

    @property
    def abandoned(self) -> bool:
        """Whether the rest of the reply will not be read.

        A reply without content is abandoned after its first message. That message shows whether the
        reply is an error; then the generator is closed and nothing is sent.
        """
        return not self._has_content or self._pipe.abandoned or self._call.request.cancelled

    def put(self, value: Any) -> bool:
        """Sends one value.

        Args:
            value: What the generator yielded, or an error in the place of a reply.

        Returns:
            Whether there is room for more; if not, ask :meth:`tell_room`.

        Raises:
            UnsupportedReply: When the value cannot be sent.
            DcfError: The error, where there is no way to tell it and go on.
        """
        if type(value) is StreamFailure:
            data = self._form.failure(value, self._call.request.request_id)
            if not data:
                raise value.error
        else:
            data = self._form.message(value)
        if not self._has_content:
            return True
        has_room = self._pipe.put(data)
        if self._call.pipe is None:
            self._open()
        return has_room

    def tell_room(self, notify: Callable[[], object]) -> bool:
        """As of :class:`ResponseStream`."""
        return self._pipe.tell_room(notify)

    def end(self, failure: BaseException | None) -> None:
        """The generator has ended, or failed with ``failure``."""
        call = self._call
        call.finished = time.monotonic()
        error = None if failure is None else handler_error(failure)
        if error is not None and call.pipe is None:
            call.outcome, call.answered = error, call.finished
            self._answered(call)
            return
        if not self._has_content:
            call.answered = call.finished
            self._answered(call)
            return
        call.rest()  # what is left is the reader's time
        self._pipe.finish(error)
        if call.pipe is None:
            self._open()

    def _open(self) -> None:
        self._call.pipe, self._call.answered = self._pipe, time.monotonic()
        self._answered(self._call)
