"""What goes wrong with one function stays with that function.

Whoever does something for every function does it inside :meth:`Isolation.of`: an error of any kind
is logged with the function's name, and the work goes on with the next function.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dcf.errors import DcfError

logger = logging.getLogger("dcf.control")

FIRST_DELAY = 1.0
"""Seconds after an error before the function's turn comes again, and before the log tells of it
again; each further error in a row doubles them."""

LONGEST_DELAY = 60.0
"""Seconds. A function that was repaired is back within a minute."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


class Isolation:
    """Keeps the errors of each function apart, for one kind of work."""

    def __init__(self, work: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Creates a boundary that no error has met yet.

        Args:
            work: What is done for each function, for the log: ``scaling``.
            clock: Seconds; goes only forward.
        """
        self._work = work
        self._clock = clock
        self._failures: dict[str, _Failures] = {}

    def rests(self, function: str) -> bool:
        """Tell whether a function is to be left alone for now, because its last try failed."""
        failures = self._failures.get(function)
        return failures is not None and self._clock() < failures.until

    @contextmanager
    def of(self, function: str, but: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        """Keep any error in the block from the other functions.

        Args:
            function: The name of the function that the block works for.
            but: Errors that concern all functions, and leave the block.
        """
        try:
            yield
        except but:
            raise
        except Exception as error:  # noqa: BLE001  that is the boundary
            self.failed(function, error)
        else:
            self._failures.pop(function, None)

    def failed(self, function: str, error: Exception) -> None:
        """Note that the work for a function failed. The log tells of it once for each delay."""
        if self.rests(function):
            return
        failures = self._failures.setdefault(function, _Failures())
        delay = min(LONGEST_DELAY, FIRST_DELAY * float(1 << min(failures.count, 10)))
        failures.count += 1
        failures.until = self._clock() + delay
        told = None if isinstance(error, DcfError) else error
        logger.error(
            "%s of %s failed and is tried again after %g s; other functions are not affected: %s",
            self._work,
            function,
            delay,
            error if isinstance(error, DcfError) else repr(error),
            exc_info=told,
        )

    def keep_only(self, functions: Collection[str]) -> None:
        """Forget the errors of functions that are no longer there."""
        for name in self._failures.keys() - set(functions):
            del self._failures[name]
