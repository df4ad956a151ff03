"""The composition root of build, run, serve and deploy: here the parts meet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dcf.builder.builder import Builder, Built
from dcf.builder.checkout import checkout
from dcf.builder.package import Package, package
from dcf.builder.store import Store
from dcf.builder.uv import Uv
from dcf.cli.console import Console
from dcf.engines.local.gpu import (
    Demand,
    Gpu,
    GpuSource,
    Nvml,
    reserve,
    restrict,
    visible_devices,
)
from dcf.engines.local.local_replica import Launch, LocalReplica
from dcf.engines.local.workspace import Workspace, workspace
from dcf.function.secrets import SECRETS_DIR
from dcf.model.function import FunctionSpec
from dcf.project.init import dockerfile_changed
from dcf.project.locate import Located, locate
from dcf.project.notices import notices
from dcf.project.variables import Resolved, resolve_environment
from dcf.settings import Locations, StoreSettings, WatcherSettings


@dataclass(frozen=True, slots=True)
class Staged:
    """A function that is built and laid out for one replica.

    Attributes:
        located: Where the author keeps it.
        built: What the build made.
        place: The replica's own folder.
        resolved: The author's variables and secrets.
    """

    located: Located
    built: Built
    place: Workspace
    resolved: Resolved


class CommandContext:
    """Finds, builds, lays out and starts functions for the commands."""

    def __init__(
        self, console: Console, env: Mapping[str, str], gpus: GpuSource | None = None
    ) -> None:
        """Joins the parts.

        Args:
            console: Hears of everything.
            env: This process's environment.
            gpus: Where the machine's GPUs are looked up; None takes the real ones.
        """
        self._console = console
        self._env = env
        self._gpus = gpus or Nvml()
        self._places = Locations.from_mapping(env)
        self._store = Store.at(self._places)
        bound = StoreSettings.from_mapping(env)
        self._builder = Builder(self._store, Uv(env), console, bound)

    def find(self, name: str | None, config: Path | None) -> Located:
        """The function that is meant (``dcf.project.locate``)."""
        return locate(name, config, Path.cwd())

    def build(self, located: Located, *, nocache: bool = False, offline: bool = False) -> Built:
        """Builds what is stale, and tells what of config.yaml has no effect here."""
        built = self._builder.build(
            located.folder,
            located.spec,
            private=located.private_files(self._places.secrets),
            nocache=nocache,
            offline=offline,
        )
        if not built.fresh:
            self._tell(located, notices(located.spec))
        return built

    @contextlib.contextmanager
    def package(
        self, located: Located, *, nocache: bool = False, offline: bool = False
    ) -> Iterator[Package]:
        """Brings bundle and lock up to date for a gateway, and keeps pruning away meanwhile."""
        made = package(
            located,
            self._builder,
            self._store,
            secrets=self._places.secrets,
            nocache=nocache,
            offline=offline,
        )
        if not made.fresh:
            self._tell(located, notices(located.spec, deployed=True))
        with self._store.hold(made.artifact.bundle):
            yield made

    @contextlib.contextmanager
    def stage(self, located: Located, built: Built) -> Iterator[Staged]:
        """Lays the function out for one replica, and keeps pruning away from it meanwhile."""
        resolved = resolve_environment(located.spec, located.folder, self._places.secrets)
        with (
            self._store.hold(built.environment.key),
            self._store.hold(built.artifact.bundle),
            workspace(self._places.workspaces, self._places.runtime) as place,
        ):
            checkout(self._store, built.artifact.bundle, place.source)
            yield Staged(located, built, place, resolved)

    @contextlib.contextmanager
    def gpus(self, spec: FunctionSpec, *, required: bool) -> Iterator[Mapping[str, str]]:
        """Reports the machine's GPUs and reserves what the function asks for.

        Yields:
            The variables that show the replica its devices.
        """
        inventory = restrict(self._gpus.look(), self._env)
        self._console.print(f"GPU: {_report(inventory.gpus, inventory.driver)}")
        demand = Demand.of(spec.limits, spec.requests, required=required)
        if demand.count == 0:
            yield visible_devices(()) if demand.hidden else {}
            return
        guards = self._places.gpu_locks
        with reserve(demand.count, inventory, guards, required=demand.required) as taken:
            if not taken:
                self._console.notice("`limits.gpu` is set and there is no GPU: running on the CPU")
                yield {}
                return
            self._console.print("     using " + ", ".join(f"GPU {gpu.index}" for gpu in taken))
            yield visible_devices([gpu.uuid for gpu in taken])

    def start(
        self,
        staged: Staged,
        settings: WatcherSettings,
        extra: Mapping[str, str],
        listener: int | None = None,
    ) -> LocalReplica:
        """Starts a replica of what was laid out.

        Args:
            staged: The function.
            settings: How the watcher is to behave; function, handler and limits are filled in.
            extra: Further variables of the framework's own.
            listener: A listening socket to hand down.
        """
        spec, place = staged.located.spec, staged.place
        limits = {
            name: value
            for name in ("timeout", "idle_timeout", "concurrency", "queue", "preflight")
            if (value := getattr(spec, name)) is not None
        }
        settings = replace(
            settings,
            function=spec.name,
            root=str(place.source),
            origin=str(staged.located.folder),
            handler_dir=spec.handler.dir,
            handler_file=spec.handler.file,
            handler_name=spec.handler.name,
            listen=place.listen if listener is None else f"fd:{listener}",
            **limits,
        )
        own = dict(extra)
        if staged.resolved.secrets:
            own[SECRETS_DIR] = str(place.link_secrets(staged.resolved.secrets))
        launch = Launch(
            python=staged.built.environment.python,
            settings=settings,
            environment=staged.resolved.environment,
            extra=own,
            listener=listener,
        )
        return LocalReplica(launch, self._env)

    def _tell(self, located: Located, texts: Iterable[str]) -> None:
        """Says what of the function's folder has no effect here."""
        for text in texts:
            self._console.notice(text)
        if dockerfile_changed(located.folder, located.spec.runtime):
            self._console.notice("the changed Dockerfile acts only when an image is built")


def _report(gpus: tuple[Gpu, ...], driver: str) -> str:
    if not gpus:
        return "no NVIDIA GPU"
    lines = [f"driver {driver}"]
    lines += [
        f"     {gpu.index}: {gpu.name}, {gpu.memory_used >> 20} of {gpu.memory >> 20} MiB used"
        for gpu in gpus
    ]
    return "\n".join(lines)
