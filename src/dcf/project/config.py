"""From config.yaml to function specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcf.errors import ConfigError, Problem
from dcf.model.function import FunctionSpec, HandlerRef, Resources
from dcf.model.scaling import ScalingWish
from dcf.project.document import read_yaml
from dcf.project.fields import CONFIG, DCF
from dcf.project.kinds import PYTHON_ARGUMENT
from dcf.project.nodes import Faults, kind_of
from dcf.project.sections import mapping_entries

CONFIG_NAME = "config.yaml"
"""What the file is called unless it is named otherwise."""


@dataclass(frozen=True, slots=True)
class Config:
    """A config.yaml that holds.

    Attributes:
        path: The file, as it was given.
        functions: By name, in the file's order; at least one.
        gateway: ``host:port``; None when the file names none.
    """

    path: Path
    functions: Mapping[str, FunctionSpec]
    gateway: str | None


def load_config(path: Path) -> Config:
    """Reads and checks a config.yaml.

    Nothing but this file is looked at: neither the handler nor the environment files.

    Args:
        path: The file.

    Raises:
        ConfigError: With every problem of the file, each with its line and column.
    """
    root = read_yaml(path)
    if root is None or kind_of(root) == "null":
        message = "it is empty; a mapping with the key 'functions' is wanted"
        raise ConfigError(path, [Problem(0, 0, message)])
    faults = Faults(path)
    values = CONFIG.read(root, "", faults)
    faults.check()
    functions = {name: _spec(name, found) for name, found in values["functions"].items()}
    return Config(path, functions, values.get("dcf", {}).get("gateway"))


def gateway_of(path: Path) -> str | None:
    """The gateway that a config.yaml names, ``host:port``, whatever else is in it.

    Args:
        path: The file; it need not be there, or be one of ours.

    Returns:
        None when it names none.

    Raises:
        ConfigError: When it is there and no YAML, or names what is no address.
    """
    root = read_yaml(path) if path.is_file() else None
    if root is None:
        return None
    faults = Faults(path)
    values: dict[str, Any] = {}
    for entry in mapping_entries(root, "", Faults(path)):
        if entry.key == "dcf":
            values = DCF.read(entry.value, "dcf", faults)
    faults.check()
    return values.get("gateway")


def _spec(name: str, values: Mapping[str, Any]) -> FunctionSpec:
    made = dict(values)
    made["handler"] = HandlerRef(**made.get("handler", {}))
    for resources in ("limits", "requests"):
        made[resources] = Resources(**made.get(resources, {}))
    scaling = made.get("scaling", {})
    made["scaling"] = ScalingWish(*(scaling.get(key) for key in ("min", "max", "target", "idle")))
    argument = dict(made.get("build_args", ())).get(PYTHON_ARGUMENT)
    if argument:
        made.setdefault("python", argument)
    return FunctionSpec(name=name, **made)
