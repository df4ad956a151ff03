"""Notices about keys of config.yaml that have no effect."""

from __future__ import annotations

from dcf.model.function import FunctionSpec
from dcf.project.kinds import PYTHON_ARGUMENT


def notices(spec: FunctionSpec, *, deployed: bool = False) -> tuple[str, ...]:
    """Return the notices for a function.

    Args:
        spec: The function.
        deployed: Whether it runs behind a gateway, where scaling has an effect and lists show image
            and labels, rather than by ``run`` or ``serve``.

    Returns:
        At most one sentence each about images, clusters and deployments.
    """
    arguments = [key for key, _ in spec.build_args if key != PYTHON_ARGUMENT]
    image, labels = ((), ()) if deployed else (("image",), ("labels",))
    in_images = [key for key in ("docker_registry", *image) if getattr(spec, key)]
    if arguments:
        in_images.append(f"build_args ({', '.join(arguments)})")
    if spec.build_options:
        in_images.append("build_options")
    in_clusters = [key for key in ("constraints", *labels) if getattr(spec, key)]
    requests = {"memory": spec.requests.memory, "cpu": spec.requests.cpu}
    in_clusters += [f"requests.{name}" for name, amount in requests.items() if amount is not None]
    in_deployments = ["scaling"] if spec.scaling and not deployed else []
    return tuple(
        f"{spec.name}: {_joined(keys)} {'has' if len(keys) == 1 else 'have'} an effect only in"
        f" {where}"
        for keys, where in (
            (in_images, "images"),
            (in_clusters, "clusters"),
            (in_deployments, "deployments, not in run and serve"),
        )
        if keys
    )


def _joined(keys: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(keys[:-1]), keys[-1]]))
