"""Target number of replicas of a function, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from dcf.errors import SpecInvalid
from dcf.model.json_schema import Keywords

MAX_REPLICAS = 1000
"""Maximum number of replicas. One machine cannot run more, so a larger number is rejected as a
typo."""

MIN_TARGET = 0.01
MAX_TARGET = 100_000.0
MIN_IDLE = 1.0
MAX_IDLE = 30 * 86_400.0
"""Plausible range of a target in calls, and of an idle time in seconds. Values outside are rejected
as typos."""

Replicas = Annotated[int, Keywords(minimum=0, maximum=MAX_REPLICAS)]
MaximumReplicas = Annotated[int, Keywords(minimum=1, maximum=MAX_REPLICAS)]
Target = Annotated[float, Keywords(minimum=MIN_TARGET, maximum=MAX_TARGET)]
IdleSeconds = Annotated[float, Keywords(minimum=MIN_IDLE, maximum=MAX_IDLE)]


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """The author's settings; None keeps the function's current value.

    Attributes:
        minimum: Minimum number of replicas; with 0, an idle function scales to zero.
        maximum: Maximum number of replicas, at least 1.
        target: Target concurrent calls of one replica.
        idle: Seconds without a call after which the last replica stops, if ``minimum`` is 0.
    """

    minimum: Replicas | None = None
    maximum: MaximumReplicas | None = None
    target: Target | None = None
    idle: IdleSeconds | None = None

    def __bool__(self) -> bool:
        return self != NO_SCALING

    def over(self, other: ScalingSpec) -> ScalingSpec:
        """Return the settings of both; where both set a value, this one wins."""
        return ScalingSpec(
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
            _check("target", self.target, MIN_TARGET, MAX_TARGET)
        if self.idle is not None:
            _check("idle", self.idle, MIN_IDLE, MAX_IDLE)
        if None not in (self.minimum, self.maximum) and self.minimum > self.maximum:  # type: ignore[operator]  # neither is None
            raise SpecInvalid(f"min {self.minimum} is greater than max {self.maximum}")


NO_SCALING = ScalingSpec()


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

    def with_replicas(self, replicas: int) -> Scaling:
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

    def with_spec(self, spec: ScalingSpec) -> Scaling:
        """Return a copy for a deploy with the settings ``spec``.

        If they set anything, a number of replicas that a user set is dropped. A bound that they
        leave unset moves if the other one would cross it.

        Raises:
            SpecInvalid: If the settings are invalid.
        """
        spec.check()
        if not spec:
            return self
        low, high = self.automatic or (self.minimum, self.maximum)
        if spec.minimum is not None:
            low = spec.minimum
            high = max(high, low, 1)
        if spec.maximum is not None:
            high = spec.maximum
            low = min(low, high)
        return replace(
            self._within(low, high),
            target=self.target if spec.target is None else spec.target,
            idle=self.idle if spec.idle is None else spec.idle,
        )

    def autoscaled(self, replicas: int) -> Scaling:
        """Return a copy with another number of replicas, limited by the bounds."""
        return replace(self, replicas=min(max(replicas, self.minimum), self.maximum))

    def _within(self, low: int, high: int) -> Scaling:
        replicas = min(max(self.replicas, low), high)
        return replace(self, minimum=low, maximum=high, replicas=replicas, automatic=None)


def _check(name: str, number: float, least: float, most: float = MAX_REPLICAS) -> None:
    if not least <= number <= most:  # also false for NaN
        expected = f"a number from {least:.15g} to {most:.15g}"
        raise SpecInvalid(f"{name}: expected {expected}, got {number}")
