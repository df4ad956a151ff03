"""Adapts a handler that replies to one message, so that it replies to a stream of messages.

If the handler raises ``BadRequest`` for a message, that message gets the error as its reply and the
stream continues. Any other exception ends the stream.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from dcf.errors import BadRequest, UnsupportedReply
from dcf.function.reply import Reply
from dcf.function.request import Request
from dcf.protocol.stream import StreamFailure
from dcf.watcher.execution.contexts import Contexts, Within, async_steps, steps
from dcf.watcher.execution.loading import Handler


def plain(handler: Handler) -> Handler:
    """Adapt a plain handler."""

    def answer_each(request: Request) -> Iterator[Any]:
        contexts = Contexts()
        for message in request.stream:
            context = contexts.new()
            try:
                value = _body(context.run(handler, request.about(message)))
                if isinstance(value, Iterator):
                    yield from steps(context, value)
                elif isinstance(value, AsyncIterator):
                    raise UnsupportedReply("a plain handler returned an async generator")
                else:
                    yield value
            except BadRequest as error:
                yield StreamFailure(error, final=False)

    return answer_each


def asynchronous(handler: Handler) -> Handler:
    """Adapt an async handler."""

    async def answer_each(request: Request) -> AsyncIterator[Any]:
        contexts = Contexts()
        async for message in request.stream:
            context = contexts.new()
            try:
                value = context.run(handler, request.about(message))
                if inspect.isawaitable(value):
                    value = await Within(context, value)
                value = _body(value)
                if isinstance(value, AsyncIterator):
                    async with aclosing(async_steps(context, value)) as replies:
                        async for reply in replies:
                            yield reply
                elif isinstance(value, Iterator):
                    for reply in steps(context, value):
                        yield reply
                else:
                    yield value
            except BadRequest as error:
                yield StreamFailure(error, final=False)

    return answer_each


def _body(value: Any) -> Any:
    return value.body if isinstance(value, Reply) else value
