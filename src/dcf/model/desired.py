"""The desired state of a function: which revision, and how many replicas."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class CanaryWanted:
    """The desired canary: a revision that gets a part of the calls.

    Attributes:
        revision: Number of the revision.
        share: Percent of the calls for the canary, above 0 and below 100.
    """

    revision: int
    share: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """The desired state of a function.

    Attributes:
        function: The function's name.
        revision: Number of the current revision.
        replicas: Number of its replicas.
        surge: Maximum number of extra replicas, of any revision, during a rollout; None for
            ``replicas``, but at least 1. With 0, an old replica stops before a new replica starts,
            for resources that exist once, such as a GPU.
        canary: The canary; None without one.
    """

    function: str
    revision: int
    replicas: int
    surge: int | None = None
    canary: CanaryWanted | None = None

    @property
    def canaries(self) -> int:
        """Number of the canary's replicas: its share, at least one unless there are none."""
        if self.canary is None or not self.replicas:
            return 0
        return ceil(self.replicas * self.canary.share / 100)

    @property
    def most(self) -> int:
        """Maximum number of replicas that may exist at the same time."""
        surge = max(1, self.replicas) if self.surge is None else self.surge
        return self.replicas + self.canaries + surge
