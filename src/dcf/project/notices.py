"""Sentences about keys that are set and do nothing where the function is run as it is."""

from __future__ import annotations

from dcf.model.function import FunctionSpec, Resources
from dcf.project.kinds import PYTHON_ARGUMENT


def notices(spec: FunctionSpec, *, deployed: bool = False) -> tuple[str, ...]:
    """What to tell the author about keys without effect outside images or clusters.

    Args:
        spec: The function.
        deployed: Whether it is to run behind a gateway, where limits and scaling hold and lists
            show image and labels, and not by ``run`` or ``serve``.

    Returns:
        At most one sentence about images, one about clusters and one about deployments.
    """
    arguments = [key for key, _ in spec.build_args if key != PYTHON_ARGUMENT]
    image, labels = ((), ()) if deployed else (("image",), ("labels",))
    in_images = [key for key in ("docker_registry", *image) if getattr(spec, key)]
    if arguments:
        in_images.append(f"build_args ({', '.join(arguments)})")
    if spec.build_options:
        in_images.append("build_options")
    in_clusters = [key for key in ("constraints", *labels) if getattr(spec, key)]
    in_clusters += _amounts("requests", spec.requests)
    in_deployments = _amounts("limits", spec.limits) + (["scaling"] if spec.scaling else [])
    if deployed:
        in_deployments = []
    return tuple(
        f"{spec.name}: {_joined(keys)} {'acts' if len(keys) == 1 else 'act'} only in {where}"
        for keys, where in (
            (in_images, "images"),
            (in_clusters, "clusters"),
            (in_deployments, "deployments, not in run and serve"),
        )
        if keys
    )


def _amounts(key: str, given: Resources) -> list[str]:
    amounts = {"memory": given.memory, "cpu": given.cpu}
    return [f"{key}.{name}" for name, amount in amounts.items() if amount is not None]


def _joined(keys: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(keys[:-1]), keys[-1]]))
