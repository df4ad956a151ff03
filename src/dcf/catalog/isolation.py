"""Keeps an error of one function from affecting other functions.

Work that is done for every function runs inside :meth:`Isolation.of`. Any error in it is logged
with the function's name, and the work continues with the next function.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dcf.errors import DcfError

logger = logging.getLogger("dcf.controlplane")

FIRST_DELAY = 1.0
"""Seconds after an error until the function is tried again and the error is logged again. Each
further error in a row doubles them."""

LONGEST_DELAY = 60.0
"""Maximum delay in seconds: a function that was fixed is tried again within a minute."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


class Isolation:
    """Isolates the errors of each function, for one kind of work."""

    def __init__(self, work: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Create an error boundary.

        Args:
            work: The work that is done for each function, for the log: ``scaling``.
            clock: Monotonic seconds.
        """
        self._work = work
        self._clock = clock
        self._failures: dict[str, _Failures] = {}

    def rests(self, function: str) -> bool:
        """Return whether to skip a function for now, because its last attempt failed."""
        failures = self._failures.get(function)
        return failures is not None and self._clock() < failures.until

    @contextmanager
    def of(self, function: str, but: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        """Keep any error in the block from the other functions.

        Args:
            function: The name of the function that the block works for.
            but: Errors that concern all functions, so they leave the block.
        """
        try:
            yield
        except but:
            raise
        except Exception as error:  # noqa: BLE001  this is the error boundary
            self.failed(function, error)
        else:
            self._failures.pop(function, None)

    def failed(self, function: str, error: Exception) -> None:
        """Note that the work for a function failed. It is logged once for each delay."""
        if self.rests(function):
            return
        failures = self._failures.setdefault(function, _Failures())
        delay = min(LONGEST_DELAY, FIRST_DELAY * float(1 << min(failures.count, 10)))
        failures.count += 1
        failures.until = self._clock() + delay
        unexpected = None if isinstance(error, DcfError) else error
        logger.error(
            "%s of %s failed, retrying after %g s; other functions are not affected: %s",
            self._work,
            function,
            delay,
            error if isinstance(error, DcfError) else repr(error),
            exc_info=unexpected,
        )

    def keep_only(self, functions: Collection[str]) -> None:
        """Forget the errors of functions that no longer exist."""
        for name in self._failures.keys() - set(functions):
            del self._failures[name]
