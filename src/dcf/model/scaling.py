"""How many replicas a function is to have."""

from __future__ import annotations

from dataclasses import dataclass

from dcf.errors import SpecInvalid

MOST_REPLICAS = 1000
"""More than one gateway's machine can run; a number above it is a slip of the keyboard."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Wanted replicas and the bounds for whoever changes that number by itself.

    Attributes:
        minimum: Never fewer, unless someone asks for fewer by hand.
        maximum: Never more, unless someone asks for more by hand.
        replicas: Wanted now; between the two.
    """

    minimum: int = 1
    maximum: int = 1
    replicas: int = 1

    def scaled(self, replicas: int) -> Scaling:
        """The same with a number of replicas asked for by hand, which moves a bound in its way.

        Raises:
            SpecInvalid: When the number is negative or too large.
        """
        _check("replicas", replicas)
        return Scaling(min(self.minimum, replicas), max(self.maximum, replicas), replicas)

    def within(self, minimum: int | None, maximum: int | None) -> Scaling:
        """The same with other bounds; None leaves a bound, unless the other one crosses it.

        Raises:
            SpecInvalid: When a bound is negative or too large, or both are given and crossed.
        """
        for name, given in (("minimum", minimum), ("maximum", maximum)):
            if given is not None:
                _check(name, given)
        if minimum is not None and maximum is not None and minimum > maximum:
            raise SpecInvalid(f"minimum {minimum} is more than maximum {maximum}")
        low = min(self.minimum, self.maximum if maximum is None else maximum)
        low = low if minimum is None else minimum
        high = max(self.maximum, low) if maximum is None else maximum
        return Scaling(low, high, min(max(self.replicas, low), high))


def _check(name: str, number: int) -> None:
    if not 0 <= number <= MOST_REPLICAS:
        raise SpecInvalid(f"{name}: {number} found, a number from 0 to {MOST_REPLICAS} is wanted")
