"""Target number of replicas of a function, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dcf.errors import SpecInvalid

MOST_REPLICAS = 1000
"""Maximum number of replicas. One machine cannot run more, so a larger number is rejected as a
typo."""

LEAST_TARGET = 0.01
MOST_TARGET = 100_000.0
LEAST_IDLE = 1.0
LONGEST_IDLE = 30 * 86_400.0
"""Plausible range of a target in calls, and of an idle time in seconds. Values outside are rejected
as typos."""


@dataclass(frozen=True, slots=True)
class ScalingWish:
    """The author's settings; None keeps the function's current value.

    Attributes:
        minimum: Minimum number of replicas; with 0, an idle function scales to zero.
        maximum: Maximum number of replicas, at least 1.
        target: Target concurrent calls of one replica.
        idle: Seconds without a call after which the last replica stops, if ``minimum`` is 0.
    """

    minimum: int | None = None
    maximum: int | None = None
    target: float | None = None
    idle: float | None = None

    def __bool__(self) -> bool:
        return self != NO_WISH

    def over(self, other: ScalingWish) -> ScalingWish:
        """Return the settings of both; where both set a value, this one wins."""
        return ScalingWish(
            other.minimum if self.minimum is None else self.minimum,
            other.maximum if self.maximum is None else self.maximum,
            other.target if self.target is None else self.target,
            other.idle if self.idle is None else self.idle,
        )

    def check(self) -> None:
        """Check that the values are valid.

        Raises:
            SpecInvalid: If a number is out of range, or the minimum is greater than the maximum.
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
            raise SpecInvalid(f"min {self.minimum} is greater than max {self.maximum}")


NO_WISH = ScalingWish()


@dataclass(frozen=True, slots=True)
class Scaling:
    """Target number of replicas, and the rules for the autoscaler, which changes it.

    Attributes:
        minimum: Minimum number of replicas.
        maximum: Maximum number of replicas.
        replicas: Target number of replicas, between the two.
        target: Target concurrent calls of one replica; None means the function's ``concurrency``,
            or 1 if that is unset.
        idle: Seconds without a call after which the last replica stops, if ``minimum`` is 0.
        automatic: The bounds that :meth:`released` restores; None while they are in force.
    """

    minimum: int = 1
    maximum: int = 1
    replicas: int = 1
    target: float | None = None
    idle: float = 300.0
    automatic: tuple[int, int] | None = None

    @property
    def by_hand(self) -> bool:
        """Whether a user set this number of replicas."""
        return self.automatic is not None

    def scaled(self, replicas: int) -> Scaling:
        """Return a copy with a number of replicas that a user set. It becomes both bounds.

        Raises:
            SpecInvalid: If the number is negative or too large.
        """
        _check("replicas", replicas, 0)
        bounds = self.automatic or (self.minimum, self.maximum)
        return replace(
            self, minimum=replicas, maximum=replicas, replicas=replicas, automatic=bounds
        )

    def released(self) -> Scaling:
        """Return a copy with the function's own bounds in force again."""
        low, high = self.automatic or (self.minimum, self.maximum)
        return self._within(low, high)

    def wished(self, wish: ScalingWish) -> Scaling:
        """Return a copy for a deploy with the settings ``wish``.

        If they set anything, a number of replicas that a user set is dropped. A bound that they
        leave unset moves if the other one would cross it.

        Raises:
            SpecInvalid: If the settings are invalid.
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
        """Return a copy with another number of replicas, limited by the bounds."""
        return replace(self, replicas=min(max(replicas, self.minimum), self.maximum))

    def _within(self, low: int, high: int) -> Scaling:
        replicas = min(max(self.replicas, low), high)
        return replace(self, minimum=low, maximum=high, replicas=replicas, automatic=None)


def _check(name: str, number: float, least: float, most: float = MOST_REPLICAS) -> None:
    if not least <= number <= most:  # also false for NaN
        expected = f"a number from {least:.15g} to {most:.15g}"
        raise SpecInvalid(f"{name}: expected {expected}, got {number}")
