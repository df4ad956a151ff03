"""Every key of config.yaml, once: the validator and the JSON Schema are both made from this table.

The names are those of :class:`dcf.model.function.FunctionSpec`, and so are the defaults; a test
holds them together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from yaml import Node

from dcf.model.scaling import MOST_REPLICAS
from dcf.project.kinds import (
    AT_LEAST_ONE,
    CPU,
    DURATION,
    FEWEST,
    GPU,
    IDLE,
    MEMORY,
    MOST,
    NOT_NEGATIVE,
    PYTHON_ARGUMENT,
    TARGET,
    VARIABLE_PATTERN,
    PythonVersion,
    RuntimeName,
    Text,
    TruthValue,
)
from dcf.project.nodes import Faults
from dcf.project.sections import (
    BuildArguments,
    Field,
    Functions,
    ScalarMap,
    Section,
    TextList,
)
from dcf.settings import RESERVED_PREFIX

_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
GATEWAY = Text(
    rf"(https?://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):{_PORT}",
    "an address host:port",
)
"""Where a gateway is."""

_LINE = r"[^\x00-\x1f\x7f]*"
_PATH_TEXT = r"[^\x00]*"


def why_no_variable(name: str) -> str:
    """Why an author cannot set an environment variable of this name; "" when it is fine."""
    if not re.fullmatch(VARIABLE_PATTERN, name):
        return "letters, digits and '_' make the name of a variable, and it starts with no digit"
    if name.startswith(RESERVED_PREFIX):
        return f"names that start with {RESERVED_PREFIX} are the framework's"
    return ""


ENVIRONMENT = ScalarMap(why_no_variable, f"(?!{RESERVED_PREFIX}){VARIABLE_PATTERN}")
"""Variables for the handler, in config.yaml and in environment files."""


def _why_no_label(key: str) -> str:
    return "" if key else "a label's key cannot be empty"


def _check_function(
    nodes: Mapping[str, Node], values: dict[str, Any], where: str, faults: Faults
) -> None:
    """The interpreter is chosen once, and no more is reserved than is allowed."""
    python = values.get("python")
    argument = dict(values.get("build_args", ())).get(PYTHON_ARGUMENT)
    if python and argument and python != argument:
        line = nodes["build_args"].start_mark.line + 1
        message = (
            f"{where}: python is {python!r} and {PYTHON_ARGUMENT} in build_args (line {line}) is "
            f"{argument!r}; keep one of the two"
        )
        faults.add(nodes["python"], message)
    limits, requests = values.get("limits", {}), values.get("requests", {})
    for name, amount in requests.items():
        if name in limits and amount > limits[name]:
            message = f"requests.{name} is more than limits.{name}, which is all it may have"
            faults.add(nodes["requests"], f"{where}: {message}")


_HANDLER = Section(
    "handler",
    (
        Field(
            "dir",
            Text(
                r"(?!/)(?!([^\x00]*/)?\.\.(/|$))[^\x00]*",
                "a folder inside the function's (no '..', no '/' in front)",
            ),
            "Folder of the handler, relative to this file; the root of its imports and its working "
            "directory.",
            "./src",
        ),
        Field(
            "file",
            Text(r"[^\x00/\\]+\.py", "the name of a .py file, without a folder,"),
            "File in that folder.",
            "handler.py",
        ),
        Field(
            "name",
            Text(r"[^\W\d]\w*", "the name of a class or function in Python"),
            "A class, or a plain function, in that file.",
            "Handler",
        ),
    ),
)


def _resources(title: str) -> Section:
    return Section(
        title,
        (
            Field("memory", MEMORY, "A Kubernetes quantity (512Mi, 1G) or a number of bytes."),
            Field("cpu", CPU, "Cores: 2, 0.5, or 500m for thousandths."),
            Field("gpu", GPU, "Whole GPUs."),
        ),
    )


def _check_scaling(
    nodes: Mapping[str, Node], values: dict[str, Any], where: str, faults: Faults
) -> None:
    """The two bounds are not crossed."""
    low, high = values.get("min", 0), values.get("max", MOST_REPLICAS)
    if low > high:
        line = nodes["max"].start_mark.line + 1
        faults.add(nodes["min"], f"{where}: min {low} is greater than max {high} (line {line})")


_SCALING = Section(
    "scaling",
    (
        Field("min", FEWEST, "Fewest replicas; with 0, none where nobody calls."),
        Field("max", MOST, "Most replicas."),
        Field("target", TARGET, "Calls under way at a time that one replica is to have."),
        Field(
            "idle",
            IDLE,
            "Time without a call after which the last replica goes, where 'min' is 0: seconds, or "
            "90s, 5m, 1h.",
        ),
    ),
    _check_scaling,
)

FUNCTION = Section(
    "a function",
    (
        Field("runtime", RuntimeName(), "The language template.", "python"),
        Field("desc", Text(), "Free text, shown in lists.", ""),
        Field("maintainer", Text(), "Free text, shown in lists.", ""),
        Field("handler", _HANDLER, "Where the handler is."),
        Field(
            "docker_registry",
            Text(r"\S*", "an address host:port"),
            "Registry that images are pushed to, host:port; acts only in images.",
            "",
        ),
        Field(
            "image",
            Text(r"\S*", "the name of an image"),
            "Name of the image, host:port/NAME; acts only in images.",
            "",
        ),
        Field("limits", _resources("limits"), "At most this much of each resource."),
        Field("requests", _resources("requests"), "At least this much of each resource."),
        Field(
            "build_args",
            BuildArguments(),
            f"List of KEY=VALUE for the Dockerfile; acts only in images, except {PYTHON_ARGUMENT}, "
            "which chooses the interpreter where 'python' does not.",
        ),
        Field(
            "build_options",
            TextList(Text(r"[^\s\x00]+", "the name of a system package")),
            "System packages for the Dockerfile; acts only in images.",
        ),
        Field(
            "environment",
            ENVIRONMENT,
            f"Environment variables; names that start with {RESERVED_PREFIX} are the framework's.",
        ),
        Field(
            "environment_file",
            TextList(Text(_PATH_TEXT, "the path of a file")),
            "Files with environment variables, relative to this file: KEY=VALUE lines, or a "
            "mapping in .yaml and .yml. Later ones win; 'environment' wins over all.",
        ),
        Field(
            "secrets",
            TextList(Text(r"(?!\.\.?$)[^\x00-\x1f\x7f/\\]+", "a file's name without a folder")),
            "Names of files in the secrets folder of the machine that runs the function.",
        ),
        Field(
            "constraints",
            TextList(Text(_LINE, "a placement rule")),
            "Placement rules; they act only in clusters.",
        ),
        Field(
            "labels",
            ScalarMap(_why_no_label, r"[\s\S]+"),
            "Free key-value pairs; they act only in clusters.",
        ),
        Field(
            "python",
            PythonVersion(),
            'Version of Python such as "3.12", in quotes; unset takes the one that builds.',
        ),
        Field("timeout", DURATION, "Longest time for one reply: seconds, or 90s, 5m, 1h."),
        Field("idle_timeout", DURATION, "Longest time that a stream may stand still."),
        Field("concurrency", AT_LEAST_ONE, "Calls at a time in one replica."),
        Field("queue", NOT_NEGATIVE, "Calls that may wait for their turn in one replica."),
        Field(
            "preflight",
            TruthValue(),
            "Whether the handler answers CORS preflights. False refuses them unless a gateway "
            "answers them by its option --cors.",
            default=False,
        ),
        Field("scaling", _SCALING, "How many replicas a gateway keeps."),
    ),
    _check_function,
)

DCF = Section("dcf", (Field("gateway", GATEWAY, "Address of the gateway, host:port."),))

CONFIG = Section(
    "the file",
    (
        Field("functions", Functions(FUNCTION), "The functions by name.", required=True),
        Field("dcf", DCF, "Settings that are no function's."),
    ),
)
