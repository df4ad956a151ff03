"""What a local engine needs besides a supervisor: handlers in a store, and an environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dcf.builder.build_progress import SILENT
from dcf.builder.bundle import read_folder
from dcf.builder.environment import Environment
from dcf.builder.store import Store
from dcf.engines.base import ReplicaSpec
from dcf.engines.local.engine import LocalEngine
from dcf.engines.local.replica_files import ReplicaFiles
from dcf.engines.spec import replica_spec
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaId
from dcf.settings import Locations, WatcherSettings
from dcf.supervision.embedded import EmbeddedSupervisor
from dcf.supervision.supervisor_client import SupervisorClient

LOCK = "sha256:" + "b" * 64


class Lab:
    """A store and the folders of one engine.

    Attributes:
        folder: The folder of everything; its path leaves room for a socket's name.
        python: The environment of every function.
        built: How often the environment was requested.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = Locations.from_mapping(
            {
                "HOME": str(folder),
                "DCF_DATA_DIR": str(folder / "data"),
                "DCF_RUNTIME_DIR": str(folder / "run"),
                "DCF_SECRETS_DIR": str(folder / "secrets"),
            }
        )
        self.sockets = folder / "s"
        self.sockets.mkdir(parents=True, exist_ok=True)
        self.store = Store.at(self.places)
        self.environment = Environment("test", Path(sys.prefix))
        self.error: Exception | None = None
        self.built = 0
        self._sources = 0

    def build_artifact(self, artifact, spec, *, listener=None, stop=None) -> Environment:
        self.built += 1
        if self.error is not None:
            raise self.error
        return self.environment

    def artifact(self, handler: str) -> Artifact:
        """Put a function with this handler into the store."""
        self._sources += 1
        source = self.folder / "sources" / f"{self._sources}"
        (source / "src").mkdir(parents=True)
        (source / "src" / "handler.py").write_text(handler)
        reading = read_folder(source, self.store.blobs, {}, SILENT)
        return Artifact(self.store.put_bundle(reading.bundle), LOCK)

    def spec(
        self,
        replica: str,
        handler: str,
        *,
        settings: WatcherSettings | None = None,
        name: str = "echo",
        revision: int = 3,
        **function,
    ) -> ReplicaSpec:
        return replica_spec(
            ReplicaId(replica),
            revision,
            FunctionSpec(name, **function),
            self.artifact(handler),
            settings or WatcherSettings(drain=1),
        )

    def files(self) -> ReplicaFiles:
        return ReplicaFiles(
            self.store,
            self,
            replicas=self.places.replicas,
            sockets=self.sockets,
            secrets=self.places.secrets,
        )

    def engine(
        self,
        supervisor: SupervisorClient | EmbeddedSupervisor,
        env: Mapping[str, str] | None = None,
        **given,
    ) -> LocalEngine:
        base = {**os.environ, "DCF_RUNTIME_DIR": str(self.places.runtime)} if env is None else env
        return LocalEngine(supervisor, self.files(), base, **given)

    def missing_python(self) -> None:
        self.environment = replace(self.environment, root=Path("/no"))
