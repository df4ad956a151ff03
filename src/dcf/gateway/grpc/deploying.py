"""Deploy and Update: what a CreateFunctionRequest says, laid over what is known of its artifact."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dcf.errors import BlobsMissing, FunctionNotFound, SpecInvalid
from dcf.gateway.deployment import Deployment, check_annotations
from dcf.gateway.plane import ControlPlane
from dcf.model.artifact import is_digest
from dcf.model.function import FunctionSpec
from dcf.model.names import check_name
from dcf.model.scaling import ScalingSpec
from dcf.model.spec_json import spec_from_members, spec_to_json
from dcf.model.status import FunctionStatus
from dcf.project.kinds import CPU, GPU, MEMORY, Amount

_AMOUNTS: Mapping[str, tuple[str, Amount]] = {
    "Memory": ("memory", MEMORY),
    "CPU": ("cpu", CPU),
    "GPU": ("gpu", GPU),
}


async def deployment_of(
    plane: ControlPlane, request: Any, patience: float, *, update: bool
) -> Deployment:
    """What a request asks for.

    Args:
        plane: Knows artifacts and functions.
        request: A CreateFunctionRequest.
        patience: Seconds that its client waits.
        update: Whether the function must be there, and may keep its artifact.

    Raises:
        BlobsMissing: When ``Image`` is no artifact that the gateway has.
        FunctionNotFound: When there is no function to update; with the nearest names.
        InvalidName: When ``Service`` is no name.
        SpecInvalid: When a field does not fit; it is named.
    """
    name = check_name(request.Service)
    known = await _known(plane, name)
    if known is None and update:
        await plane.function(name)  # says what is missing
    digest = request.Image
    if not digest and known is not None and update:
        digest = known.artifact
    if not is_digest(digest):
        raise BlobsMissing(
            f"Image: {digest[:200]!r} is no artifact's digest (sha256: and 64 digits), and images"
            " are not run here. `dcf-cli function deploy` sends a function's folder, and"
            " `dcf-cli function info` shows the digest of what is deployed"
        )
    revision = await plane.last_of(digest, name)
    spec = replace(revision.spec, name=name)
    if known is not None:
        labels = dict(known.labels)
        spec = replace(spec, desc=known.desc, maintainer=known.maintainer, labels=labels)
    annotations = dict(request.Annotations)
    if annotations and known is not None:
        annotations = {**known.annotations, **annotations}
    wish = ScalingSpec(request.MinReplicas or None, request.MaxReplicas or None)
    wish.check()
    return Deployment(
        spec=_laid_over(spec, request),
        artifact=revision.artifact,
        minimum=wish.minimum,
        maximum=wish.maximum,
        annotations=check_annotations("Annotations", annotations or None),
        timeout=patience,
    )


async def _known(plane: ControlPlane, name: str) -> FunctionStatus | None:
    try:
        return await plane.function(name)
    except FunctionNotFound:
        return None


def _laid_over(spec: FunctionSpec, request: Any) -> FunctionSpec:
    """``spec`` with what a request says. What it leaves empty stays, as proto3 knows no other none.

    It is read as what comes over HTTP is, so that the same rules hold.
    """
    members = json.loads(spec_to_json(spec))
    for field, given in (("environment", request.EnvVars), ("labels", request.Labels)):
        if given:
            members[field] = {**members.get(field, {}), **given}
    for field, given in (("secrets", request.Secrets), ("constraints", request.Constraints)):
        if given:
            members[field] = list(given)
    for field, name in (("limits", "Limits"), ("requests", "Requests")):
        amounts = _amounts(name, getattr(request, name))
        if amounts:
            members[field] = {**members.get(field, {}), **amounts}
    return spec_from_members(members)


def _amounts(name: str, resources: Any) -> dict[str, Any]:
    return {
        field: _amount(f"{name}.{member}", getattr(resources, member), kind)
        for member, (field, kind) in _AMOUNTS.items()
        if getattr(resources, member)
    }


def _amount(where: str, text: str, kind: Amount) -> Any:
    reason = ""
    if re.fullmatch(kind.pattern, text):
        try:
            return kind.parse(text)
        except ValueError as error:
            reason = f"; {error}"
    else:
        reason = kind.hint(text)
    raise SpecInvalid(f"{where}: expected {kind.expected}, got {text[:80]!r}{reason}")
