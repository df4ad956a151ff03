"""What a function is: the author's wishes, checked and with units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dcf.model.json_schema import FunctionName, PositiveFloat, PositiveInt
from dcf.model.scaling import NO_WISH, ScalingWish


@dataclass(frozen=True, slots=True)
class HandlerRef:
    """Where the handler is.

    Attributes:
        dir: Folder relative to the function's, the import root and working directory.
        file: File in that folder.
        name: A class or a function in that file.
    """

    dir: str = "./src"
    file: str = "handler.py"
    name: str = "Handler"


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of each resource; None means unset.

    Attributes:
        memory: Bytes.
        cpu: Cores; 0.5 is half of one.
        gpu: Whole devices.
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
        handler: Where the handler is.
        limits: At most this much.
        requests: At least this much.
        python: Interpreter asked for, such as ``3.12``; None takes the one that builds.
        timeout: Seconds that one reply may take; None takes the watcher's default.
        idle_timeout: Seconds that a stream may stand still; None takes the watcher's default.
        concurrency: Calls at a time in one replica; None lets the handler's kind decide.
        queue: Calls that may wait for a slot in one replica; None takes the watcher's default.
        preflight: Whether the handler answers CORS preflights.
        environment: Variables for the handler.
        environment_file: Files with variables, relative to config.yaml.
        secrets: Names of files in the user's secrets folder.
        constraints: Placement rules; they act in clusters.
        labels: Free key-value pairs; they act in clusters.
        scaling: How many replicas it asks for.
        docker_registry: host:port; acts when an image is pushed.
        image: Acts when an image is built.
        build_args: Build arguments in the order given; they act when an image is built.
        build_options: System packages; they act when an image is built.
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
    scaling: ScalingWish = NO_WISH
    docker_registry: str = ""
    image: str = ""
    build_args: tuple[tuple[str, str], ...] = ()
    build_options: tuple[str, ...] = ()
