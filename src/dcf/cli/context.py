"""The composition root of build, run, serve and deploy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from dcf.builder.build_progress import Listener
from dcf.builder.builder import Builder, Built
from dcf.builder.environment import Environment
from dcf.builder.package import Package, package
from dcf.builder.store import Store
from dcf.builder.uv import BuildStop, Uv
from dcf.cli.console import Console
from dcf.errors import StorageError
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.project.init import dockerfile_changed
from dcf.project.locate import LocatedFunction, locate
from dcf.project.notices import notices
from dcf.settings import Locations, StoreSettings


class CommandContext:
    """Finds, builds and packages functions for the commands.

    It is also the source of environments for an engine (``EnvironmentSource``): those of the
    functions that it has built.

    Attributes:
        console: Shows the progress.
        env: This process's environment.
        places: Where everything is kept.
        store: Holds what was built.
    """

    def __init__(self, console: Console, env: Mapping[str, str]) -> None:
        """Join the parts.

        Args:
            console: Shows the progress.
            env: This process's environment.
        """
        self.console = console
        self.env = env
        self._environments: dict[Artifact, Environment] = {}
        self.places = Locations.from_mapping(env)
        self.store = Store.at(self.places)
        bound = StoreSettings.from_mapping(env)
        self._builder = Builder(self.store, Uv(env), console, bound)

    def find(self, name: str | None, config: Path | None) -> LocatedFunction:
        """Find a function (``dcf.project.locate``)."""
        return locate(name, config, Path.cwd())

    def build(
        self, located: LocatedFunction, *, nocache: bool = False, offline: bool = False
    ) -> Built:
        """Build what is stale, and report what in config.yaml has no effect here."""
        built = self._builder.build(
            located.folder,
            located.spec,
            private=located.private_files(self.places.secrets),
            nocache=nocache,
            offline=offline,
        )
        self._environments[built.artifact] = built.environment
        if not built.fresh:
            self._report_notices(located, notices(located.spec))
        return built

    @contextlib.contextmanager
    def package(
        self, located: LocatedFunction, *, nocache: bool = False, offline: bool = False
    ) -> Iterator[Package]:
        """Update bundle and lock for a gateway; keep them from being pruned in the block."""
        made = package(
            located,
            self._builder,
            self.store,
            secrets=self.places.secrets,
            nocache=nocache,
            offline=offline,
        )
        if not made.fresh:
            self._report_notices(located, notices(located.spec, deployed=True))
        with self.store.hold(made.artifact.bundle):
            yield made

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
            StorageError: If :meth:`build` has not built this artifact.
        """
        del listener, stop
        if artifact not in self._environments:
            raise StorageError(f"{spec.name} has not been built by this command")
        return self._environments[artifact]

    def hold(self, built: Built) -> ExitStack:
        """Keep what was built from being pruned until the returned stack is closed."""
        with ExitStack() as held:
            held.enter_context(self.store.hold(built.environment.key))
            held.enter_context(self.store.hold(built.artifact.bundle))
            return held.pop_all()

    def _report_notices(self, located: LocatedFunction, texts: Iterable[str]) -> None:
        """Print the settings and files of a function that have no effect here."""
        for text in texts:
            self.console.notice(text)
        if dockerfile_changed(located.folder, located.spec.runtime):
            self.console.notice("the changed Dockerfile acts only when an image is built")
