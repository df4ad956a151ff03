"""The table of all keys in config.yaml. The validator and the JSON Schema are derived from it.

Names and defaults are those of :class:`dcf.model.function.FunctionSpec`; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from yaml import Node

from dcf.model.scaling import MAX_REPLICAS
from dcf.project.kinds import (
    AT_LEAST_ONE,
    CPU,
    DURATION,
    GPU,
    IDLE,
    MAXIMUM,
    MEMORY,
    MINIMUM,
    NOT_NEGATIVE,
    PYTHON_ARGUMENT,
    TARGET,
    VARIABLE_PATTERN,
    PythonVersion,
    RuntimeName,
    Text,
    TruthValue,
)
from dcf.project.nodes import ProblemCollector
from dcf.project.sections import (
    BuildArguments,
    Field,
    FunctionMap,
    ScalarMap,
    Section,
    TextList,
)
from dcf.settings import RESERVED_PREFIX

_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
GATEWAY = Text(
    rf"(https?://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):{_PORT}",
    "host:port",
)
"""Address of a gateway."""

_LINE = r"[^\x00-\x1f\x7f]*"
_PATH_TEXT = r"[^\x00]*"


def variable_problem(name: str) -> str:
    """Return why an author cannot set an environment variable with this name, or ""."""
    if not re.fullmatch(VARIABLE_PATTERN, name):
        return f"expected a name of letters, digits and '_' without a leading digit, got {name!r}"
    if name.startswith(RESERVED_PREFIX):
        return (
            f"the name {name!r} is reserved: names with the prefix {RESERVED_PREFIX} belong to DCF"
        )
    return ""


ENVIRONMENT = ScalarMap(variable_problem, f"(?!{RESERVED_PREFIX}){VARIABLE_PATTERN}")
"""Environment variables for the handler, in config.yaml and in environment files."""


def _label_problem(key: str) -> str:
    return "" if key else "expected a label's key, got an empty text"


def _check_function(
    nodes: Mapping[str, Node], values: dict[str, Any], where: str, problems: ProblemCollector
) -> None:
    """Check that the interpreter is set once, and that no request exceeds its limit."""
    python = values.get("python")
    argument = dict(values.get("build_args", ())).get(PYTHON_ARGUMENT)
    if python and argument and python != argument:
        line = nodes["build_args"].start_mark.line + 1
        message = (
            f"{where}: python is {python!r}, but {PYTHON_ARGUMENT} in build_args (line {line}) is "
            f"{argument!r}; remove one of them"
        )
        problems.add(nodes["python"], message)
    limits, requests = values.get("limits", {}), values.get("requests", {})
    for name, amount in requests.items():
        if name in limits and amount > limits[name]:
            message = f"{where}: requests.{name} is greater than limits.{name}"
            problems.add(nodes["requests"], message)


_HANDLER = Section(
    "handler",
    (
        Field(
            "dir",
            Text(
                r"(?!/)(?!([^\x00]*/)?\.\.(/|$))[^\x00]*",
                "a folder inside the function's, without '..' or a leading '/'",
            ),
            "Folder of the handler, relative to this file. It is the import root and working "
            "directory.",
            "./src",
        ),
        Field(
            "file",
            Text(r"[^\x00/\\]+\.py", "the name of a .py file without a folder"),
            "File in that folder.",
            "handler.py",
        ),
        Field(
            "name",
            Text(r"[^\W\d]\w*", "the name of a class or function in Python"),
            "Class or function in that file.",
            "Handler",
        ),
    ),
)


def _resources(title: str) -> Section:
    return Section(
        title,
        (
            Field("memory", MEMORY, "A Kubernetes quantity (512Mi, 1G) or a number of bytes."),
            Field("cpu", CPU, "Number of cores: 2, 0.5, or 500m (thousandths)."),
            Field("gpu", GPU, "Number of GPUs."),
        ),
    )


def _check_scaling(
    nodes: Mapping[str, Node], values: dict[str, Any], where: str, problems: ProblemCollector
) -> None:
    """Check that the minimum is not greater than the maximum."""
    low, high = values.get("min", 0), values.get("max", MAX_REPLICAS)
    if low > high:
        line = nodes["max"].start_mark.line + 1
        problems.add(nodes["min"], f"{where}: min {low} is greater than max {high} (line {line})")


_SCALING = Section(
    "scaling",
    (
        Field(
            "min", MINIMUM, "Minimum number of replicas. With 0, an idle function scales to zero."
        ),
        Field("max", MAXIMUM, "Maximum number of replicas."),
        Field("target", TARGET, "Target concurrent calls of one replica."),
        Field(
            "idle",
            IDLE,
            "Time without a call after which the last replica stops, if 'min' is 0: seconds, or "
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
        Field("handler", _HANDLER, "Location of the handler."),
        Field(
            "docker_registry",
            Text(r"\S*", "host:port"),
            "Registry for images, as host:port. Used only for images.",
            "",
        ),
        Field(
            "image",
            Text(r"\S*", "the name of an image"),
            "Name of the image, as host:port/NAME. Used only for images.",
            "",
        ),
        Field("limits", _resources("limits"), "Maximum resources."),
        Field("requests", _resources("requests"), "Minimum resources."),
        Field(
            "build_args",
            BuildArguments(),
            "List of KEY=VALUE for the Dockerfile. Used only for images, except "
            f"{PYTHON_ARGUMENT}, which sets the version of Python if 'python' is unset.",
        ),
        Field(
            "build_options",
            TextList(Text(r"[^\s\x00]+", "the name of a system package")),
            "System packages for the Dockerfile. Used only for images.",
        ),
        Field(
            "environment",
            ENVIRONMENT,
            f"Environment variables. Names with the prefix {RESERVED_PREFIX} are reserved.",
        ),
        Field(
            "environment_file",
            TextList(Text(_PATH_TEXT, "the path of a file")),
            "Files with environment variables, relative to this file: KEY=VALUE lines, or a "
            "mapping in .yaml and .yml. Later files win; 'environment' wins over all.",
        ),
        Field(
            "secrets",
            TextList(Text(r"(?!\.\.?$)[^\x00-\x1f\x7f/\\]+", "a file's name without a folder")),
            "Names of files in the secrets folder of the machine that runs the function.",
        ),
        Field(
            "constraints",
            TextList(Text(_LINE, "a placement rule")),
            "Placement rules. Used only in clusters.",
        ),
        Field(
            "labels",
            ScalarMap(_label_problem, r"[\s\S]+"),
            "Free key-value pairs. Used only in clusters.",
        ),
        Field(
            "python",
            PythonVersion(),
            'Version of Python in quotes, such as "3.12". Default: the one that DCF runs on.',
        ),
        Field("timeout", DURATION, "Maximum time for one reply: seconds, or 90s, 5m, 1h."),
        Field("idle_timeout", DURATION, "Maximum time without progress in a stream."),
        Field("concurrency", AT_LEAST_ONE, "Maximum concurrent calls of one replica."),
        Field("queue", NOT_NEGATIVE, "Maximum waiting calls of one replica."),
        Field(
            "preflight",
            TruthValue(),
            "Whether the handler answers CORS preflights. If false, they are rejected unless a "
            "gateway answers them (option --cors).",
            default=False,
        ),
        Field("scaling", _SCALING, "Number of replicas behind a gateway."),
    ),
    _check_function,
)

DCF = Section("dcf", (Field("gateway", GATEWAY, "Address of the gateway, as host:port."),))

CONFIG = Section(
    "the file",
    (
        Field("functions", FunctionMap(FUNCTION), "The functions by name.", required=True),
        Field("dcf", DCF, "Settings that do not belong to a function."),
    ),
)
