"""Sentences about keys that are set and do nothing where the function is run as it is."""

from __future__ import annotations

from dcf.model.function import FunctionSpec
from dcf.project.kinds import PYTHON_ARGUMENT


def notices(spec: FunctionSpec) -> tuple[str, ...]:
    """What to tell the author about keys without effect outside images or clusters.

    Args:
        spec: The function.

    Returns:
        At most one sentence about images, one about clusters and one about amounts.
    """
    arguments = [key for key, _ in spec.build_args if key != PYTHON_ARGUMENT]
    in_images = [key for key in ("docker_registry", "image") if getattr(spec, key)]
    if arguments:
        in_images.append(f"build_args ({', '.join(arguments)})")
    if spec.build_options:
        in_images.append("build_options")
    in_clusters = [key for key in ("constraints", "labels") if getattr(spec, key)]
    amounts = [
        f"{key}.{amount}"
        for key in ("limits", "requests")
        for amount in ("memory", "cpu")
        if getattr(getattr(spec, key), amount) is not None
    ]
    return tuple(
        f"{spec.name}: {_joined(keys)} {'acts' if len(keys) == 1 else 'act'} only in {where}"
        for keys, where in (
            (in_images, "images"),
            (in_clusters, "clusters"),
            (amounts, "deployments, not in run and serve"),
        )
        if keys
    )


def _joined(keys: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(keys[:-1]), keys[-1]]))
