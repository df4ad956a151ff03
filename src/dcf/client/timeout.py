"""How long a client waits for a reply."""

from __future__ import annotations

import math
import time

from dcf.errors import DeadlineExceeded


class Timeout:
    """The time limits of one reply. Several reads and writes share it."""

    def __init__(self, *, total: float = math.inf, silence: float = math.inf) -> None:
        """Start the clock.

        Args:
            total: Seconds until the whole reply must have arrived.
            silence: Seconds that may pass without a byte.
        """
        self._total = total
        self._silence = silence
        self._until = time.monotonic() + total

    def left(self) -> float | None:
        """Return the seconds that the next read or write may take; None for no limit.

        Raises:
            TimeoutError: When the time is over.
        """
        left = min(self._until - time.monotonic(), self._silence)
        if left <= 0:
            raise TimeoutError
        return None if math.isinf(left) else left

    def error(self) -> DeadlineExceeded:
        """Return the error that says which limit was exceeded."""
        if self._total <= self._silence:
            return DeadlineExceeded(f"the reply was not complete within {self._total:g} s")
        return DeadlineExceeded(f"no data arrived for {self._silence:g} s")
