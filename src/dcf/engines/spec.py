"""A function's spec becomes a replica's settings here, for every engine."""

from __future__ import annotations

from dataclasses import replace

from dcf.engines.base import ReplicaSpec
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaId
from dcf.settings import WatcherSettings

LIMITS = ("timeout", "idle_timeout", "concurrency", "queue", "preflight")
"""Fields that a function's spec and a watcher's settings share. The spec takes precedence."""


def replica_spec(
    replica: ReplicaId,
    revision: int,
    function: FunctionSpec,
    artifact: Artifact,
    settings: WatcherSettings,
) -> ReplicaSpec:
    """Return what an engine needs to start a replica of a function.

    Args:
        replica: The replica's name.
        revision: The function's revision; 0 in ``run`` and ``serve``.
        function: The function, with all of the author's variables.
        artifact: The function's files and lock.
        settings: How watchers behave by default. Without ``origin``, tracebacks name the function
            instead of the author's folder, which may be on another machine.
    """
    given = {name: value for name in LIMITS if (value := getattr(function, name)) is not None}
    watcher = replace(
        settings,
        function=function.name,
        origin=settings.origin or function.name,
        handler_dir=function.handler.dir,
        handler_file=function.handler.file,
        handler_name=function.handler.name,
        **given,
    )
    return ReplicaSpec(
        replica, function.name, revision, function, artifact, function.secrets, watcher
    )
