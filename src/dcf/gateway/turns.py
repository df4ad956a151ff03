"""In which order the deploys of one function enter the catalog."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Turn:
    """One deploy.

    Attributes:
        environment: What decides on its environment: deploys with an equal one wait for the same
            build.
        is_building: Whether it builds, or waits for builds.
        overtaken_by: The revision of a later deploy that is in the catalog already; 0 for none.
    """

    environment: Hashable
    is_building: bool = False
    overtaken_by: int = 0


class Turns:
    """Deploys of a function enter in the order in which they came, but never wait for a build of
    another environment.
    """

    def __init__(self) -> None:
        self._turns: defaultdict[str, list[Turn]] = defaultdict(list)
        self._changed = asyncio.Event()

    @contextlib.contextmanager
    def joined(self, function: str, environment: Hashable) -> Iterator[Turn]:
        """A deploy, from its arrival until it is in the catalog or has failed."""
        turn = Turn(environment)
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
        """How many deploys there are."""
        return sum(map(len, self._turns.values()))

    def builds(self, turn: Turn, *, builds: bool) -> None:
        """Notes that a deploy begins to build, or that it has built."""
        if turn.is_building != builds:
            turn.is_building = builds
            self._change()

    def is_next(self, function: str, turn: Turn) -> bool:
        """Whether a deploy need not wait for an earlier one."""
        return all(
            earlier.is_building and earlier.environment != turn.environment
            for earlier in self._earlier(function, turn)
        )

    async def come(self, function: str, turn: Turn) -> None:
        """Waits until a deploy may enter."""
        while not self.is_next(function, turn):
            await self._changed.wait()

    def entered(self, function: str, turn: Turn, revision: int) -> None:
        """Notes that a deploy is in the catalog, as a revision. Earlier ones are overtaken."""
        for earlier in self._earlier(function, turn):
            earlier.overtaken_by = revision

    def _earlier(self, function: str, turn: Turn) -> list[Turn]:
        turns = self._turns[function]
        return turns[: turns.index(turn)]

    def _change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
