"""How a process ended, in words."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended.

    Attributes:
        code: Its exit code; the negative number of the signal that killed it.
    """

    code: int

    def __str__(self) -> str:
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            name = signal.Signals(-self.code).name
            meaning = signal.strsignal(-self.code)
        except ValueError:
            return f"killed by signal {-self.code}"
        return f"killed by {name} ({meaning})" if meaning else f"killed by {name}"
