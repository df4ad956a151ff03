"""Deploy and Update: merges a CreateFunctionRequest into the last spec of its artifact."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dcf.controlplane.deploy.deploy_request import DeployRequest, check_annotations
from dcf.controlplane.service import GatewayService
from dcf.errors import BlobsMissing, FunctionNotFound, SpecInvalid
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
    service: GatewayService, request: Any, patience: float, *, is_update: bool
) -> DeployRequest:
    """Return the deploy that a request describes.

    Args:
        service: Finds artifacts and functions.
        request: A CreateFunctionRequest.
        patience: Seconds that the client waits.
        is_update: Whether the function must exist. It may then keep its artifact.

    Raises:
        BlobsMissing: If ``Image`` is not an artifact that the gateway has.
        FunctionNotFound: If there is no function to update; with similar names.
        InvalidName: If ``Service`` is not a valid name.
        SpecInvalid: If a field is invalid; the error names it.
    """
    name = check_name(request.Service)
    known = await _known(service, name)
    if known is None and is_update:
        await service.function(name)  # raises FunctionNotFound
    digest = request.Image
    if not digest and known is not None and is_update:
        digest = known.artifact
    if not is_digest(digest):
        raise BlobsMissing(
            f"Image: expected an artifact's digest (sha256: and 64 lowercase hex digits), got"
            f" {digest[:200]!r}. The gateway does not run images. Deploy the function's folder with"
            " `dcf-cli function deploy`; `dcf-cli function info` shows the digest of a deployed"
            " function"
        )
    revision = await service.last_of(digest, name)
    spec = replace(revision.spec, name=name)
    if known is not None:
        labels = dict(known.labels)
        spec = replace(spec, desc=known.desc, maintainer=known.maintainer, labels=labels)
    annotations = dict(request.Annotations)
    if annotations and known is not None:
        annotations = {**known.annotations, **annotations}
    wish = ScalingSpec(request.MinReplicas or None, request.MaxReplicas or None)
    wish.check()
    return DeployRequest(
        spec=_merged(spec, request),
        artifact=revision.artifact,
        minimum=wish.minimum,
        maximum=wish.maximum,
        annotations=check_annotations("Annotations", annotations or None),
        timeout=patience,
    )


async def _known(service: GatewayService, name: str) -> FunctionStatus | None:
    try:
        return await service.function(name)
    except FunctionNotFound:
        return None


def _merged(spec: FunctionSpec, request: Any) -> FunctionSpec:
    """Return ``spec`` with the fields of a request that are not empty.

    In proto3 an unset field is empty. The result is parsed like a spec from HTTP, so that the same
    rules apply.
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
