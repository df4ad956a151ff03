"""A revision, and the function that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.scaling import NO_WISH, Scaling


@dataclass(frozen=True, slots=True)
class Revision:
    """An immutable pair of artifact and spec.

    Attributes:
        function: The function's name.
        number: Counted from 1 for each name; never used again, also after the function's deletion.
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
    """A revision that serves a part of the calls beside the current one.

    Attributes:
        revision: Which.
        share: Percent of the calls, above 0 and below 100.
    """

    revision: Revision
    share: float


@dataclass(frozen=True, slots=True)
class FunctionRecord:
    """What is known of a deployed function, apart from its replicas.

    Attributes:
        name: Its name.
        desc: Free text for lists.
        maintainer: Free text for lists.
        labels: Free key-value pairs.
        annotations: Free key-value pairs that came with a deploy and not from config.yaml.
        scaling: How many replicas it is to have.
        current: The revision that is to serve.
        invocations: Calls so far, since it was first deployed.
        created: Seconds since the epoch, of the first deploy.
        updated: Seconds since the epoch, of the last change by hand.
        canary: What is tried beside the current revision; None when nothing is.
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
    """``spec`` without what belongs to the function: changing that makes no new revision."""
    return replace(spec, desc="", maintainer="", labels={}, scaling=NO_WISH)
