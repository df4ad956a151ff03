"""Orders the deploys of one function on their way to the catalog."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class QueuedDeploy:
    """One deploy.

    Attributes:
        environment: The recipe of its environment. Deploys with an equal recipe wait for the same
            build.
        is_building: Whether it builds, or waits for other builds.
        overtaken_by: The revision of a later deploy that is already in the catalog; 0 for none.
    """

    environment: Hashable
    is_building: bool = False
    overtaken_by: int = 0


class DeployQueue:
    """Lets the deploys of a function enter in the order of their arrival.

    A deploy never waits for the build of another environment.
    """

    def __init__(self) -> None:
        self._turns: defaultdict[str, list[QueuedDeploy]] = defaultdict(list)
        self._changed = asyncio.Event()

    @contextlib.contextmanager
    def joined(self, function: str, environment: Hashable) -> Iterator[QueuedDeploy]:
        """Yield the turn of a deploy, which lasts until it is in the catalog or has failed."""
        turn = QueuedDeploy(environment)
        turns = self._turns[function]
        turns.append(turn)
        try:
            yield turn
        finally:
            turns.remove(turn)
            if not turns:
                del self._turns[function]
            self._change()

    @property
    def count(self) -> int:
        """The number of deploys that have not entered yet."""
        return sum(map(len, self._turns.values()))

    def builds(self, turn: QueuedDeploy, *, builds: bool) -> None:
        """Note that a deploy begins or ends its build."""
        if turn.is_building != builds:
            turn.is_building = builds
            self._change()

    def is_next(self, function: str, turn: QueuedDeploy) -> bool:
        """Return whether a deploy need not wait for an earlier one."""
        return all(
            earlier.is_building and earlier.environment != turn.environment
            for earlier in self._earlier(function, turn)
        )

    async def wait(self, function: str, turn: QueuedDeploy) -> None:
        """Wait until a deploy may enter."""
        while not self.is_next(function, turn):
            await self._changed.wait()

    def entered(self, function: str, turn: QueuedDeploy, revision: int) -> None:
        """Note that a deploy is in the catalog, as a revision. It overtakes earlier deploys."""
        for earlier in self._earlier(function, turn):
            earlier.overtaken_by = revision

    def _earlier(self, function: str, turn: QueuedDeploy) -> list[QueuedDeploy]:
        turns = self._turns[function]
        return turns[: turns.index(turn)]

    def _change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
