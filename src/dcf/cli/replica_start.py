"""Starts the replicas of ``run`` and ``serve``."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from dcf.builder.builder import Built
from dcf.cli.context import CommandContext
from dcf.cli.replicas import CommandEngine, CommandReplica
from dcf.engines import registry
from dcf.engines.spec import replica_spec
from dcf.model.replica import ReplicaId
from dcf.project.locate import LocatedFunction
from dcf.project.variables import resolve_environment
from dcf.settings import WatcherSettings

REVISION = 0
"""The revision of a function that is not deployed."""


@contextlib.contextmanager
def replica_start(
    context: CommandContext,
    settings: WatcherSettings,
    *,
    require_gpu: bool,
    listener: socket.socket | None = None,
) -> Iterator[Callable[[LocatedFunction, Built], CommandReplica]]:
    """Open the engine and show its GPUs. All replicas end after the block.

    Args:
        context: Has built the functions.
        settings: How watchers behave by default.
        require_gpu: Whether at least one GPU is needed, whatever the function says.
        listener: A listening socket for each replica.

    Yields:
        A function that starts a replica and shows its limits. Its files are not pruned while it
        runs.
    """
    opened = partial(registry.command_engine, context.store, context, context.places, context.env)
    with CommandEngine(opened) as engine:
        context.console.print("GPU: " + "\n     ".join(engine.describe_gpus()))
        yield partial(_start, context, engine, settings, require_gpu=require_gpu, listener=listener)


def _start(
    context: CommandContext,
    engine: CommandEngine,
    settings: WatcherSettings,
    located: LocatedFunction,
    built: Built,
    *,
    require_gpu: bool,
    listener: socket.socket | None,
) -> CommandReplica:
    spec = located.spec
    resolved = resolve_environment(spec, located.folder, context.places.secrets)
    gpu = max(1, spec.requests.gpu or 0) if require_gpu else spec.requests.gpu
    function = replace(
        spec, environment=resolved.environment, requests=replace(spec.requests, gpu=gpu)
    )
    replica = replica_spec(
        ReplicaId(f"{spec.name}.{REVISION}.{secrets.token_hex(4)}"),
        REVISION,
        function,
        built.artifact,
        replace(settings, origin=str(located.folder)),
    )
    started = engine.start(replica, listener, context.hold(built))
    for limit in started.limits():
        context.console.print(f"Limit: {limit}")
    return started
