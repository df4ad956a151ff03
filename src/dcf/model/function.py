"""Function specs: the author's settings, validated and with units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dcf.model.json_schema import FunctionName, PositiveFloat, PositiveInt
from dcf.model.scaling import NO_SCALING, ScalingSpec


@dataclass(frozen=True, slots=True)
class HandlerRef:
    """Location of the handler.

    Attributes:
        dir: Folder relative to the function's. It is the import root and working directory.
        file: File in that folder.
        name: Class or function in that file.
    """

    dir: str = "./src"
    file: str = "handler.py"
    name: str = "Handler"


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of each resource; None means unset.

    Attributes:
        memory: Bytes.
        cpu: Cores; 0.5 is half a core.
        gpu: Number of devices.
    """

    memory: PositiveInt | None = None
    cpu: PositiveFloat | None = None
    gpu: int | None = None


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function of a config.yaml.

    Attributes:
        name: The key in config.yaml.
        runtime: The language template.
        desc: Free text for lists.
        maintainer: Free text for lists.
        handler: Location of the handler.
        limits: Maximum resources.
        requests: Minimum resources.
        python: Version of the interpreter, such as ``3.12``; None takes the builder's own.
        timeout: Maximum seconds for one reply; None takes the watcher's default.
        idle_timeout: Maximum seconds without progress in a stream; None takes the watcher's
            default.
        concurrency: Maximum concurrent calls of a replica; None lets the kind of handler decide.
        queue: Maximum calls of a replica that wait for a slot; None takes the watcher's default.
        preflight: Whether the handler answers CORS preflights.
        environment: Variables for the handler.
        environment_file: Files with variables, relative to config.yaml.
        secrets: Names of files in the user's secrets folder.
        constraints: Placement rules, used in clusters.
        labels: Free key-value pairs, used in clusters.
        scaling: Number of replicas.
        docker_registry: Registry as ``host:port``, used when an image is pushed.
        image: Name of the image, used when an image is built.
        build_args: Build arguments in the given order, used when an image is built.
        build_options: System packages, used when an image is built.
    """

    name: FunctionName
    runtime: str = "python"
    desc: str = ""
    maintainer: str = ""
    handler: HandlerRef = field(default_factory=HandlerRef)
    limits: Resources = field(default_factory=Resources)
    requests: Resources = field(default_factory=Resources)
    python: str | None = None
    timeout: PositiveFloat | None = None
    idle_timeout: PositiveFloat | None = None
    concurrency: PositiveInt | None = None
    queue: int | None = None
    preflight: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_file: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    scaling: ScalingSpec = NO_SCALING
    docker_registry: str = ""
    image: str = ""
    build_args: tuple[tuple[str, str], ...] = ()
    build_options: tuple[str, ...] = ()
