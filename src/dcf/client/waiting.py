"""Telling whoever waits for a slow call that the function is only being started."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from dcf.errors import DcfError
from dcf.model.status import FunctionStatus

PATIENCE = 1.0
"""Seconds without a reply after which the function is looked at, once."""

LOOK = 2.0
"""Seconds that this look may take; a reply that has come meanwhile waits as long."""

Tell = Callable[[FunctionStatus], object]


@contextlib.contextmanager
def telling(look: Callable[[], FunctionStatus], tell: Tell | None) -> Iterator[None]:
    """Looks at the function when what is done in here takes long.

    Args:
        look: Asks how the function is, for at most :data:`LOOK`.
        tell: Called from another thread if no replica takes calls; None never looks.
    """
    if tell is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        if over.wait(PATIENCE):
            return
        with contextlib.suppress(DcfError):  # the call itself tells what is wrong
            function = look()
            if not function.takes_calls and not over.is_set():
                tell(function)

    watching = threading.Thread(target=watch, name="dcf-waiting", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


@contextlib.asynccontextmanager
async def async_telling(
    look: Callable[[], Awaitable[FunctionStatus]], tell: Tell | None
) -> AsyncIterator[None]:
    """As :func:`telling`; calls ``tell`` on the event loop."""
    if tell is None:
        yield
        return

    async def watch() -> None:
        await asyncio.sleep(PATIENCE)
        with contextlib.suppress(DcfError):
            function = await look()
            if not function.takes_calls:
                tell(function)

    watching = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})
        if not watching.cancelled():
            watching.result()
