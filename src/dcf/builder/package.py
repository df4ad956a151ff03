"""Packages a function for a deploy: spec, files and lock."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dcf.builder.builder import Builder
from dcf.builder.store import Store
from dcf.builder.uv import Uv
from dcf.errors import StorageError
from dcf.model.artifact import Artifact, Bundle
from dcf.model.function import FunctionSpec
from dcf.project.locate import Located, locate
from dcf.project.variables import read_environment
from dcf.settings import Locations, StoreSettings


@dataclass(frozen=True, slots=True)
class Package:
    """A function that can be deployed (a ``Deployable`` of ``dcf.client``).

    Attributes:
        spec: The function's spec. It contains the variables of its environment files; secrets are
            only named.
        artifact: Digests of bundle and lock.
        bundle: The function's files.
        lock: The lock's text.
        fresh: Whether nothing has changed since the last build.
        notices: Messages for the author.
        store: Holds the contents of the files.
    """

    spec: FunctionSpec
    artifact: Artifact
    bundle: Bundle
    lock: str = field(repr=False)
    fresh: bool
    notices: tuple[str, ...]
    store: Store = field(repr=False)

    def open(self, digest: str) -> BinaryIO:
        """Open the content of a file of the function.

        Args:
            digest: The content's digest.

        Raises:
            StorageError: If the store no longer has it.
        """
        try:
            return self.store.blobs.path(digest).open("rb")
        except OSError as error:
            message = f"{digest} cannot be read from the store; build {self.spec.name} again"
            raise StorageError(f"{message} ({error.strerror})") from error


def package(
    located: Located,
    builder: Builder,
    store: Store,
    *,
    secrets: Path | None = None,
    nocache: bool = False,
    offline: bool = False,
) -> Package:
    """Update bundle and lock of a function, and package them.

    So errors in the function are reported before anything is sent.

    Args:
        located: The function.
        builder: Builds into ``store``.
        store: Holds the contents.
        secrets: The folder with the secrets. They are not sent.
        nocache: Whether to read every file again, even if it did not change.
        offline: Whether to use only what is cached on this machine.

    Raises:
        SecretNotFound: If an environment file is missing.
        ConfigError: If an environment file is invalid.
        BuildError: If the lock or the bundle cannot be made.
        StorageError: If the lock or the bundle cannot be written.
    """
    environment = read_environment(located.spec, located.folder)
    locked = builder.lock(
        located.folder,
        located.spec,
        private=located.private_files(secrets),
        nocache=nocache,
        offline=offline,
    )
    return Package(
        spec=replace(located.spec, environment=environment, environment_file=()),
        artifact=locked.artifact,
        bundle=locked.bundle,
        lock=locked.lock,
        fresh=locked.fresh,
        notices=locked.notices,
        store=store,
    )


def build(
    name: str | Path | None = None,
    *,
    config: str | Path | None = None,
    nocache: bool = False,
    offline: bool = False,
) -> Package:
    """Build a function for a client's ``deploy``.

    ::

        dcf.Client().deploy(dcf.build("./hello"))

    Args:
        name: A function of config.yaml or a folder, as on the command line; None takes the only
            function of ./config.yaml.
        config: The config.yaml that defines the function.
        nocache: Whether to read every file again, even if it did not change.
        offline: Whether to use only what is cached on this machine.

    Raises:
        ProjectError: If the function does not exist, or its config.yaml is invalid.
        BuildError: If the lock or the bundle cannot be made.
        StorageError: If the lock or the bundle cannot be written.
    """
    argument = None if name is None else str(name)
    located = locate(argument, None if config is None else Path(config), Path.cwd())
    places = Locations.from_mapping(os.environ)
    store = Store.at(places)
    settings = StoreSettings.from_mapping(os.environ)
    builder = Builder(store, Uv(os.environ), settings=settings)
    return package(
        located, builder, store, secrets=places.secrets, nocache=nocache, offline=offline
    )
