"""How many replicas a function is to have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from dcf.errors import SpecInvalid
from dcf.model.json_schema import Keywords

MOST_REPLICAS = 1000
"""More than one gateway's machine can run; a number above it is a slip of the keyboard."""

LEAST_TARGET = 0.01
MOST_TARGET = 100_000.0
LEAST_IDLE = 1.0
LONGEST_IDLE = 30 * 86_400.0
"""Bounds of what is taken for meant."""

Replicas = Annotated[int, Keywords(minimum=0, maximum=MOST_REPLICAS)]
MaximumReplicas = Annotated[int, Keywords(minimum=1, maximum=MOST_REPLICAS)]
Target = Annotated[float, Keywords(minimum=LEAST_TARGET, maximum=MOST_TARGET)]
IdleSeconds = Annotated[float, Keywords(minimum=LEAST_IDLE, maximum=LONGEST_IDLE)]


@dataclass(frozen=True, slots=True)
class ScalingWish:
    """What an author asks for; None leaves what is.

    Attributes:
        minimum: Fewest replicas; with 0, none where nobody calls.
        maximum: Most replicas, at least 1.
        target: Calls under way at a time that one replica is to have.
        idle: Seconds without a call after which the last replica goes, where ``minimum`` is 0.
    """

    minimum: Replicas | None = None
    maximum: MaximumReplicas | None = None
    target: Target | None = None
    idle: IdleSeconds | None = None

    def __bool__(self) -> bool:
        return self != NO_WISH

    def over(self, other: ScalingWish) -> ScalingWish:
        """Both together; where both ask for the same thing, this one counts."""
        return ScalingWish(
            other.minimum if self.minimum is None else self.minimum,
            other.maximum if self.maximum is None else self.maximum,
            other.target if self.target is None else self.target,
            other.idle if self.idle is None else self.idle,
        )

    def check(self) -> None:
        """Looks whether it can be had.

        Raises:
            SpecInvalid: When a number is out of bounds, or the two bounds are crossed.
        """
        if self.minimum is not None:
            _check("min", self.minimum, 0)
        if self.maximum is not None:
            _check("max", self.maximum, 1)
        if self.target is not None:
            _check("target", self.target, LEAST_TARGET, MOST_TARGET)
        if self.idle is not None:
            _check("idle", self.idle, LEAST_IDLE, LONGEST_IDLE)
        if None not in (self.minimum, self.maximum) and self.minimum > self.maximum:  # type: ignore[operator]  # neither is None
            raise SpecInvalid(f"min {self.minimum} is more than max {self.maximum}")


NO_WISH = ScalingWish()


@dataclass(frozen=True, slots=True)
class Scaling:
    """Wanted replicas, and the rules for whoever changes that number by itself.

    Attributes:
        minimum: Never fewer.
        maximum: Never more.
        replicas: Wanted now; between the two.
        target: Calls under way at a time that one replica is to have; None stands for the
            function's ``concurrency``, and for 1 where that is not set.
        idle: Seconds without a call after which the last replica goes, where ``minimum`` is 0.
        automatic: The bounds to which :meth:`released` returns; None when they are in force.
    """

    minimum: int = 1
    maximum: int = 1
    replicas: int = 1
    target: float | None = None
    idle: float = 300.0
    automatic: tuple[int, int] | None = None

    @property
    def by_hand(self) -> bool:
        """Whether someone asked for this very number."""
        return self.automatic is not None

    def scaled(self, replicas: int) -> Scaling:
        """The same with a number of replicas asked for by hand, which is both bounds then.

        Raises:
            SpecInvalid: When the number is negative or too large.
        """
        _check("replicas", replicas, 0)
        bounds = self.automatic or (self.minimum, self.maximum)
        return replace(
            self, minimum=replicas, maximum=replicas, replicas=replicas, automatic=bounds
        )

    def released(self) -> Scaling:
        """The same with its own bounds in force again."""
        low, high = self.automatic or (self.minimum, self.maximum)
        return self._within(low, high)

    def wished(self, wish: ScalingWish) -> Scaling:
        """The same after a deploy, which ends a number that was asked for by hand if it says
        anything about scaling. A bound that is not given moves out of the other one's way.

        Raises:
            SpecInvalid: When the wish cannot be had.
        """
        wish.check()
        if not wish:
            return self
        low, high = self.automatic or (self.minimum, self.maximum)
        if wish.minimum is not None:
            low = wish.minimum
            high = max(high, low, 1)
        if wish.maximum is not None:
            high = wish.maximum
            low = min(low, high)
        return replace(
            self._within(low, high),
            target=self.target if wish.target is None else wish.target,
            idle=self.idle if wish.idle is None else wish.idle,
        )

    def decided(self, replicas: int) -> Scaling:
        """The same with another number of replicas, as far as the bounds allow."""
        return replace(self, replicas=min(max(replicas, self.minimum), self.maximum))

    def _within(self, low: int, high: int) -> Scaling:
        replicas = min(max(self.replicas, low), high)
        return replace(self, minimum=low, maximum=high, replicas=replicas, automatic=None)


def _check(name: str, number: float, least: float, most: float = MOST_REPLICAS) -> None:
    if not least <= number <= most:  # NaN neither
        allowed = f"a number from {least:g} to {most:g}"
        raise SpecInvalid(f"{name}: {number} found, {allowed} is wanted")
