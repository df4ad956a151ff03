"""A context (``contextvars``) for each call, and the steps of a call within it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any

_END = object()


class Contexts:
    """Creates contexts that are copies of the context in which this object was created.

    What the handler's import and constructor set is visible in all calls. What a call sets is not
    visible in the next call.

    Attributes:
        new: Returns a context for one call.
    """

    def __init__(self) -> None:
        self._base = copy_context()
        decimal: Any = sys.modules.get("decimal")
        kind = decimal.Context if decimal else ()
        # Its value is mutable, so a copied context would still share it.
        self._decimal: list[tuple[ContextVar[Any], Any]] = [
            (variable, value) for variable, value in self._base.items() if isinstance(value, kind)
        ]
        self.new: Callable[[], Context] = self._copy if self._decimal else self._base.copy

    def _copy(self) -> Context:
        context = self._base.copy()
        for variable, value in self._decimal:
            context.run(variable.set, value.copy())
        return context


def steps(context: Context, values: Iterator[Any]) -> Iterator[Any]:
    """Yield the items of ``values``. Each step, and closing a generator, runs in ``context``."""
    try:
        while (value := context.run(next, values, _END)) is not _END:
            yield value
    finally:
        if inspect.isgenerator(values):
            context.run(values.close)


async def async_steps(context: Context, values: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """Yield the items of an async iterator, as :func:`steps` does."""
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
    """Awaits something within a context, in the task that awaits this object.

    A separate task would do the same, but would cost an iteration of the loop for each message.
    """

    def __init__(self, context: Context, awaitable: Awaitable[Any]) -> None:
        """Wrap an awaitable."""
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
            except BaseException as error:  # noqa: BLE001  cancellations must reach the awaitable
                step = (awaited.throw, error)
