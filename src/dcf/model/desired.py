"""The desired state of a function: which revision, and how many replicas."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class CanaryWanted:
    """A revision that is tried beside the current one.

    Attributes:
        revision: Its number.
        share: Percent of the calls that it is to get, above 0 and below 100.
    """

    revision: int
    share: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one function is to be.

    Attributes:
        function: Its name.
        revision: Number of the revision that is to serve.
        replicas: How many replicas of it.
        surge: How many more may live at a time, of whatever revision; None stands for ``replicas``,
            at least 1. With 0, an old replica is ended before a new one is started: for what
            exists once, such as a GPU.
        canary: What is tried beside it; None when nothing is.
    """

    function: str
    revision: int
    replicas: int
    surge: int | None = None
    canary: CanaryWanted | None = None

    @property
    def canaries(self) -> int:
        """Replicas of the canary: its share of them, at least one where there are any."""
        if self.canary is None or not self.replicas:
            return 0
        return ceil(self.replicas * self.canary.share / 100)

    @property
    def most(self) -> int:
        """Replicas that may live at a time."""
        surge = max(1, self.replicas) if self.surge is None else self.surge
        return self.replicas + self.canaries + surge
