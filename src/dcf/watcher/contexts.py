"""A context (``contextvars``) for each call, and the steps of a call within it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any

_END = object()


class Contexts:
    """Makes contexts that begin as copies of the one in which this was made.

    A handler's import and constructor set variables for all calls; no call sets them for the next.
    """

    def __init__(self) -> None:
        self._base = copy_context()
        decimal: Any = sys.modules.get("decimal")
        kind = decimal.Context if decimal else ()
        # Its value is an object that calls change in place.
        self._decimal: list[tuple[ContextVar[Any], Any]] = [
            (variable, value) for variable, value in self._base.items() if isinstance(value, kind)
        ]

    def new(self) -> Context:
        """A context for one call."""
        context = self._base.copy()
        for variable, value in self._decimal:
            context.run(variable.set, value.copy())
        return context


def steps(context: Context, values: Iterator[Any]) -> Iterator[Any]:
    """Yields the items of ``values``. Each step runs within ``context``, a generator's end too."""
    try:
        while (value := context.run(next, values, _END)) is not _END:
            yield value
    finally:
        if inspect.isgenerator(values):
            context.run(values.close)


async def async_steps(context: Context, values: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """As :func:`steps`, of an async iterator."""
    try:
        while True:
            try:
                value = await Within(context, values.__anext__())
            except StopAsyncIteration:
                return
            yield value
    finally:
        if inspect.isasyncgen(values):
            await Within(context, values.aclose())


async def _given(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


class Within:
    """Awaits something within a context, in the task that awaits this.

    A task of its own would do that as well, at the price of a turn of the loop for each message.
    """

    def __init__(self, context: Context, awaitable: Awaitable[Any]) -> None:
        """Nothing is awaited yet."""
        self._context = context
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        run: Callable[..., Any] = self._context.run
        awaited = _given(self._awaitable)
        step: tuple[Callable[..., Any], Any] = (awaited.send, None)
        while True:
            try:
                waits_for = run(*step)
            except StopIteration as done:
                return done.value
            try:
                step = (awaited.send, (yield waits_for))
            except GeneratorExit:
                run(awaited.close)
                raise
            except BaseException as error:  # noqa: BLE001  a cancellation, for what is awaited
                step = (awaited.throw, error)
