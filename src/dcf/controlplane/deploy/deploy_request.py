"""The request of a deploy, read from a client's JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dcf.errors import SpecInvalid
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.scaling import ScalingSpec
from dcf.model.spec_json import spec_from_members
from dcf.model.suggest import nearest

TIMEOUT = 300.0
"""Default seconds to wait for ready replicas: the maximum time of a constructor."""

LONGEST = 86_400.0
"""Maximum seconds to wait for ready replicas. More than a day is rejected as a typo."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TEXT = re.compile(r"[^\x00\ud800-\udfff]*")


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """The request of one deploy.

    Attributes:
        spec: The function.
        artifact: Bundle and lock, uploaded before.
        minimum: Minimum number of replicas; None leaves it unchanged.
        maximum: Maximum number of replicas; None leaves it unchanged.
        annotations: Free key-value pairs; None leaves them unchanged.
        canary: Percentage of the calls for the new revision, beside the current one; None makes it
            the current revision.
        wait: Whether the reply ends only once the replicas are ready.
        timeout: Seconds to wait for ready replicas.
    """

    spec: FunctionSpec
    artifact: Artifact
    minimum: int | None = None
    maximum: int | None = None
    annotations: Mapping[str, str] | None = None
    canary: float | None = None
    wait: bool = True
    timeout: float = TIMEOUT

    @classmethod
    def from_members(cls, members: object) -> DeployRequest:
        """Read a decoded JSON document.

        Raises:
            SpecInvalid: If a member is unknown, missing or invalid. The message names it.
        """
        if not isinstance(members, dict):
            raise SpecInvalid("expected an object with spec, bundle and lock")
        for name in members.keys() - _MEMBERS.keys():
            near = nearest(name, _MEMBERS, limit=1)
            suggestion = f' (did you mean "{near[0]}"?)' if near else ""
            raise SpecInvalid(f'unknown field "{name[:80]}"{suggestion}')
        for name in ("spec", "bundle", "lock"):
            if name not in members:
                raise SpecInvalid(f"{name}: missing")
        given = {name: _MEMBERS[name](name, value) for name, value in members.items()}
        ScalingSpec(given.get("minimum"), given.get("maximum")).check()
        return cls(artifact=Artifact(given.pop("bundle"), given.pop("lock")), **given)


def _spec(_name: str, value: object) -> FunctionSpec:
    return spec_from_members(value)


def _digest(name: str, value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise SpecInvalid(f"{name}: expected sha256: and 64 lowercase hex digits")
    return value


def _bound(name: str, value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise SpecInvalid(f"{name}: expected a whole number or null")
    return value


def check_annotations(name: str, value: object) -> Mapping[str, str] | None:
    """Return annotations, if they are valid key-value pairs.

    Args:
        name: Name of the member, for messages.
        value: The decoded JSON; None leaves the annotations unchanged.

    Raises:
        SpecInvalid: If they are invalid. The message names the pair.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise SpecInvalid(f"{name}: expected an object or null")
    for key, text in value.items():
        if not (key and _TEXT.fullmatch(key) and isinstance(text, str) and _TEXT.fullmatch(text)):
            raise SpecInvalid(f"{name}.{key[:80]}: expected a text without NUL")
    return value


def _percent(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 100:  # noqa: PLR2004  percent
        raise SpecInvalid(f"{name}: expected a percentage above 0 and below 100, or null")
    return float(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise SpecInvalid(f"{name}: expected true or false")
    return value


def _seconds(name: str, value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value <= LONGEST  # neither infinity nor NaN is
    ):
        raise SpecInvalid(f"{name}: expected seconds above 0 and at most {LONGEST:g}")
    return float(value)


_MEMBERS: dict[str, Callable[[str, object], Any]] = {
    "spec": _spec,
    "bundle": _digest,
    "lock": _digest,
    "minimum": _bound,
    "maximum": _bound,
    "annotations": check_annotations,
    "canary": _percent,
    "wait": _flag,
    "timeout": _seconds,
}
