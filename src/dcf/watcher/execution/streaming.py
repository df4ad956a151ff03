"""The writer's side of a streamed reply, for both kinds of executors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from dcf.errors import BadRequest, CallError, HandlerRaised, UnsupportedReply
from dcf.function.reply import Encoded
from dcf.protocol.content import framing
from dcf.protocol.stream import StreamFailure
from dcf.watcher.call import Call, CallStream
from dcf.watcher.execution.response_stream import ResponseStream
from dcf.watcher.http.stream_encoders import RAW, choose
from dcf.watcher.tracebacks import author_traceback, summary, type_name

Answered = Callable[[Call], None]
"""Returns a call with its outcome to the server's loop. Any thread may call it."""


def handler_error(error: BaseException) -> CallError:
    """Return the error that the caller gets when the handler raised ``error``."""
    if isinstance(error, BadRequest | UnsupportedReply):
        return error
    return HandlerRaised(summary(error), type_name(error), author_traceback(error))


class StreamedReply:
    """The messages of one call's reply.

    The call returns to the loop with the first message. Until then, a failure has its own status.
    """

    def __init__(
        self,
        call: Call,
        loop: asyncio.AbstractEventLoop,
        answered: Answered,
        interrupt: Callable[[Call], None],
    ) -> None:
        """Create a reply without messages.

        Args:
            call: The call. Its outcome has status and headers.
            loop: The server's loop.
            answered: Returns the call to the loop.
            interrupt: Interrupts the handler, if that is possible.
        """
        self._call = call
        self._answered = answered
        self._replies = ResponseStream(loop)
        self._has_content = True
        stream = call.stream = call.stream or CallStream(interrupt)
        self._stream = stream
        if stream.encoder is None:
            reply, stream.encoder = call.outcome, RAW
            if isinstance(reply, Encoded):
                stream.encoder = choose(call.request, reply)
                head = call.request.method == "HEAD"
                _, self._has_content = framing(reply.status, None, head=head)
        self._encoder = stream.encoder

    @property
    def abandoned(self) -> bool:
        """Whether the rest of the reply will not be read.

        A reply without content is abandoned after its first message. That message shows whether the
        reply is an error; then the generator is closed and nothing is sent.
        """
        return not self._has_content or self._replies.abandoned or self._call.request.cancelled

    def put(self, value: Any) -> bool:
        """Send one value.

        Args:
            value: What the generator yielded, or an error instead of a reply.

        Returns:
            Whether there is room for more; if not, call :meth:`notify_room`.

        Raises:
            UnsupportedReply: If the value cannot be sent.
            DcfError: The error, if the encoding cannot express it and continue.
        """
        if type(value) is StreamFailure:
            data = self._encoder.failure(value, self._call.request.request_id)
            if not data:
                raise value.error
        else:
            data = self._encoder.message(value)
        if not self._has_content:
            return True
        has_room = self._replies.put(data)
        if self._stream.replies is None:
            self._open()
        return has_room

    def notify_room(self, notify: Callable[[], object]) -> bool:
        """Call :meth:`ResponseStream.notify_room`."""
        return self._replies.notify_room(notify)

    def end(self, failure: BaseException | None) -> None:
        """End the reply: the generator has ended, or failed with ``failure``."""
        call, clock = self._call, self._call.clock
        clock.finished = monotonic()
        error = None if failure is None else handler_error(failure)
        if error is not None and self._stream.replies is None:
            call.outcome, clock.answered = error, clock.finished
            self._answered(call)
            return
        if not self._has_content:
            clock.answered = clock.finished
            self._answered(call)
            return
        call.rest()  # from now on, only the reader takes time
        self._replies.finish(error)
        if self._stream.replies is None:
            self._open()

    def _open(self) -> None:
        self._stream.replies, self._call.clock.answered = self._replies, monotonic()
        self._answered(self._call)
