"""Revisions, and the deployed function that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.scaling import NO_SCALING, Scaling


@dataclass(frozen=True, slots=True)
class Revision:
    """An immutable pair of artifact and spec.

    Attributes:
        function: The function's name.
        number: Counted from 1 for each name. Never reused, even after the function was deleted.
        artifact: What runs.
        spec: How it runs; see :func:`spec_of_revision`.
        created: Seconds since the epoch.
    """

    function: str
    number: int
    artifact: Artifact
    spec: FunctionSpec
    created: float


@dataclass(frozen=True, slots=True)
class Canary:
    """A revision that gets a share of the calls beside the current one.

    Attributes:
        revision: The revision.
        share: Percent of the calls, above 0 and below 100.
    """

    revision: Revision
    share: float


@dataclass(frozen=True, slots=True)
class FunctionRecord:
    """A deployed function, without its replicas.

    Attributes:
        name: Its name.
        desc: Free text for lists.
        maintainer: Free text for lists.
        labels: Free key-value pairs.
        annotations: Free key-value pairs of the deploy request, not from config.yaml.
        scaling: Target number of replicas.
        current: The current revision.
        invocations: Calls since the first deploy.
        created: Time of the first deploy, in seconds since the epoch.
        updated: Time of the last change by a user, in seconds since the epoch.
        canary: The canary; None without one.
    """

    name: str
    desc: str
    maintainer: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    scaling: Scaling
    current: Revision
    invocations: int
    created: float
    updated: float
    canary: Canary | None = None


def spec_of_revision(spec: FunctionSpec) -> FunctionSpec:
    """Return ``spec`` without the fields of the function, whose changes make no new revision."""
    return replace(spec, desc="", maintainer="", labels={}, scaling=NO_SCALING)
