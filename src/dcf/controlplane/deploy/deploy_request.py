"""What a client asks for when it deploys."""

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
"""Seconds that a client waits for ready replicas when it does not say: as long as a constructor may
take."""

LONGEST = 86_400.0
"""Seconds. Who waits longer than a day has mistyped."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TEXT = re.compile(r"[^\x00\ud800-\udfff]*")


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """One deploy.

    Attributes:
        spec: The function.
        artifact: What runs; uploaded before.
        minimum: Never fewer replicas; None leaves what is.
        maximum: Never more replicas; None leaves what is.
        annotations: Free key-value pairs; None leaves what is.
        canary: Percent of the calls that it is to get beside the current revision; None makes it
            the current one.
        wait: Whether the reply ends only when the replicas are ready.
        timeout: Seconds to wait for that.
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
        """Reads what came as JSON from a client.

        Raises:
            SpecInvalid: When a member is unknown, missing or does not fit; it is named.
        """
        if not isinstance(members, dict):
            raise SpecInvalid("an object with spec, bundle and lock is wanted")
        for name in members.keys() - _MEMBERS.keys():
            meant = "".join(f"; is {one} meant?" for one in nearest(name, _MEMBERS, limit=1))
            raise SpecInvalid(f"{name[:80]}: there is no such member{meant}")
        for name in ("spec", "bundle", "lock"):
            if name not in members:
                raise SpecInvalid(f"{name}: it is missing")
        given = {name: _MEMBERS[name](name, value) for name, value in members.items()}
        ScalingSpec(given.get("minimum"), given.get("maximum")).check()
        return cls(artifact=Artifact(given.pop("bundle"), given.pop("lock")), **given)


def _spec(_name: str, value: object) -> FunctionSpec:
    return spec_from_members(value)


def _digest(name: str, value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise SpecInvalid(f"{name}: sha256: and 64 small hexadecimal digits are wanted")
    return value


def _bound(name: str, value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise SpecInvalid(f"{name}: a whole number or null is wanted")
    return value


def check_annotations(name: str, value: object) -> Mapping[str, str] | None:
    """Free key-value pairs, as they may be kept.

    Args:
        name: The member, for messages.
        value: What came; None leaves what is.

    Raises:
        SpecInvalid: When they are none; the pair is named.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise SpecInvalid(f"{name}: an object or null is wanted")
    for key, text in value.items():
        if not (key and _TEXT.fullmatch(key) and isinstance(text, str) and _TEXT.fullmatch(text)):
            raise SpecInvalid(f"{name}.{key[:80]}: texts without a zero character are wanted")
    return value


def _percent(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 100:  # noqa: PLR2004  percent
        raise SpecInvalid(f"{name}: percent above 0 and below 100 are wanted, or null")
    return float(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise SpecInvalid(f"{name}: true or false is wanted")
    return value


def _seconds(name: str, value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value <= LONGEST  # neither infinity nor NaN is
    ):
        raise SpecInvalid(f"{name}: seconds are wanted, above 0 and at most {LONGEST:g}")
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
