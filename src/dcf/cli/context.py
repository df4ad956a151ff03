"""The composition root of build, run, serve and deploy."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from dcf.builder.build_progress import Listener
from dcf.builder.builder import Builder, Built
from dcf.builder.environment import Environment
from dcf.builder.package import Package, package
from dcf.builder.store import Store
from dcf.builder.uv import BuildStop, Uv
from dcf.cli.console import Console
from dcf.cli.replicas import CommandEngine, CommandReplica
from dcf.engines import registry
from dcf.engines.spec import replica_spec
from dcf.errors import StorageError
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaId
from dcf.project.init import dockerfile_changed
from dcf.project.locate import Located, locate
from dcf.project.notices import notices
from dcf.project.variables import resolve_environment
from dcf.settings import Locations, StoreSettings, WatcherSettings

REVISION = 0
"""The revision of a function that is not deployed."""


class CommandContext:
    """Finds, builds and starts functions for the commands."""

    def __init__(self, console: Console, env: Mapping[str, str]) -> None:
        """Join the parts.

        Args:
            console: Shows the progress.
            env: This process's environment.
        """
        self._console = console
        self._env = env
        self._environments: dict[Artifact, Environment] = {}
        self._places = Locations.from_mapping(env)
        self._store = Store.at(self._places)
        bound = StoreSettings.from_mapping(env)
        self._builder = Builder(self._store, Uv(env), console, bound)

    def find(self, name: str | None, config: Path | None) -> Located:
        """Find a function (``dcf.project.locate``)."""
        return locate(name, config, Path.cwd())

    def build(self, located: Located, *, nocache: bool = False, offline: bool = False) -> Built:
        """Build what is stale, and report what in config.yaml has no effect here."""
        built = self._builder.build(
            located.folder,
            located.spec,
            private=located.private_files(self._places.secrets),
            nocache=nocache,
            offline=offline,
        )
        self._environments[built.artifact] = built.environment
        if not built.fresh:
            self._report_notices(located, notices(located.spec))
        return built

    @contextlib.contextmanager
    def package(
        self, located: Located, *, nocache: bool = False, offline: bool = False
    ) -> Iterator[Package]:
        """Update bundle and lock for a gateway; keep them from being pruned in the block."""
        made = package(
            located,
            self._builder,
            self._store,
            secrets=self._places.secrets,
            nocache=nocache,
            offline=offline,
        )
        if not made.fresh:
            self._report_notices(located, notices(located.spec, deployed=True))
        with self._store.hold(made.artifact.bundle):
            yield made

    def engine(self) -> CommandEngine:
        """Return the engine for the command's replicas. Open it with ``with``."""
        opened = partial(registry.command_engine, self._store, self, self._places, self._env)
        return CommandEngine(opened)

    def build_artifact(
        self,
        artifact: Artifact,
        spec: FunctionSpec,
        *,
        listener: Listener | None = None,
        stop: BuildStop | None = None,
    ) -> Environment:
        """Return the environment of an artifact that :meth:`build` has built.

        Raises:
            StorageError: If it has not.
        """
        del listener, stop
        if artifact not in self._environments:
            raise StorageError(f"{spec.name} has not been built by this command")
        return self._environments[artifact]

    def report_gpus(self, engine: CommandEngine) -> None:
        """Show which GPUs the engine has."""
        self._console.say("GPU: " + "\n     ".join(engine.describe_gpus()))

    def start(
        self,
        engine: CommandEngine,
        located: Located,
        built: Built,
        settings: WatcherSettings,
        *,
        require_gpu: bool = False,
        listener: socket.socket | None = None,
    ) -> CommandReplica:
        """Start a replica, and show its limits. Its files are not pruned while it runs.

        Args:
            engine: Where it runs.
            located: The function.
            built: What was built of it.
            settings: How the watcher behaves by default.
            require_gpu: Whether at least one GPU is needed, whatever the function says.
            listener: A listening socket to hand over.
        """
        spec = located.spec
        resolved = resolve_environment(spec, located.folder, self._places.secrets)
        needed = replace(spec.requests, gpu=max(1, spec.requests.gpu or 0))
        function = replace(
            spec,
            environment=resolved.environment,
            requests=needed if require_gpu else spec.requests,
        )
        replica = ReplicaId(f"{spec.name}.{REVISION}.{secrets.token_hex(4)}")
        held = ExitStack()
        try:
            held.enter_context(self._store.hold(built.environment.key))
            held.enter_context(self._store.hold(built.artifact.bundle))
        except BaseException:
            held.close()
            raise
        started = engine.start(
            replica_spec(
                replica,
                REVISION,
                function,
                built.artifact,
                replace(settings, origin=str(located.folder)),
            ),
            listener,
            held,
        )
        for limit in started.limits():
            self._console.say(f"Limit: {limit}")
        return started

    def _report_notices(self, located: Located, texts: Iterable[str]) -> None:
        """Report what in the function's folder has no effect here."""
        for text in texts:
            self._console.notice(text)
        if dockerfile_changed(located.folder, located.spec.runtime):
            self._console.notice("the changed Dockerfile acts only when an image is built")
