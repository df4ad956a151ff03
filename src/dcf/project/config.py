"""Parses config.yaml to function specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcf.errors import ConfigError, Problem
from dcf.model.function import FunctionSpec, HandlerRef, Resources
from dcf.model.scaling import ScalingSpec
from dcf.project.document import read_yaml
from dcf.project.fields import CONFIG, DCF
from dcf.project.kinds import PYTHON_ARGUMENT
from dcf.project.nodes import ProblemCollector, kind_of
from dcf.project.sections import mapping_entries

CONFIG_NAME = "config.yaml"
"""Default name of the file."""


@dataclass(frozen=True, slots=True)
class Config:
    """A valid config.yaml.

    Attributes:
        path: The file, as the caller passed it.
        functions: The functions by name, in the file's order; at least one.
        gateway: Address of the gateway as ``host:port``; None if the file has none.
    """

    path: Path
    functions: Mapping[str, FunctionSpec]
    gateway: str | None


def load_config(path: Path) -> Config:
    """Read and validate a config.yaml.

    No other file is read: neither the handler nor the environment files.

    Args:
        path: The file.

    Raises:
        ConfigError: If the file is invalid. It has all problems, each with its line and column.
    """
    root = read_yaml(path)
    if root is None or kind_of(root) == "null":
        message = "expected a mapping with the key 'functions', got an empty file"
        raise ConfigError(path, [Problem(0, 0, message)])
    problems = ProblemCollector(path)
    values = CONFIG.read(root, "", problems)
    problems.check()
    functions = {name: _spec(name, section) for name, section in values["functions"].items()}
    return Config(path, functions, values.get("dcf", {}).get("gateway"))


def gateway_of(path: Path) -> str | None:
    """Return the gateway's address in a config.yaml; the rest of the file may be invalid.

    Args:
        path: The file. It may be missing, or belong to another program.

    Returns:
        ``host:port``; None if the file has no address.

    Raises:
        ConfigError: If the file is not valid YAML, or the address is invalid.
    """
    root = read_yaml(path) if path.is_file() else None
    if root is None:
        return None
    problems = ProblemCollector(path)
    values: dict[str, Any] = {}
    for entry in mapping_entries(root, "", ProblemCollector(path)):
        if entry.key == "dcf":
            values = DCF.read(entry.value, "dcf", problems)
    problems.check()
    return values.get("gateway")


def _spec(name: str, values: Mapping[str, Any]) -> FunctionSpec:
    members = dict(values)
    members["handler"] = HandlerRef(**members.get("handler", {}))
    for resources in ("limits", "requests"):
        members[resources] = Resources(**members.get(resources, {}))
    scaling = members.get("scaling", {})
    members["scaling"] = ScalingSpec(
        *(scaling.get(key) for key in ("min", "max", "target", "idle"))
    )
    argument = dict(members.get("build_args", ())).get(PYTHON_ARGUMENT)
    if argument:
        members.setdefault("python", argument)
    return FunctionSpec(name=name, **members)
