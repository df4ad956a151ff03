"""Frees what nothing uses.

What is used follows from the folders that were built and still have their config.yaml, from what a
gateway needs (:class:`dcf.builder.retained.RetainedArtifacts`), from what is being uploaded
(:class:`dcf.builder.uploads.Uploads`), and from what somebody holds
(:meth:`dcf.builder.store.Store.hold`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from dcf.builder.folders import FolderRecord, record_path
from dcf.builder.retained import RetainedArtifacts
from dcf.builder.store import GUARD_OF_STORE, Store, digits, make_guard, use_guard
from dcf.builder.uploads import awaited, given_up
from dcf.errors import StorageError
from dcf.files.storage import writing

CONFIG_NAME = "config.yaml"
"""What makes a folder a function's."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something in the store.

    Attributes:
        kind: "environment", "bundle", "lock", "blob", "folder" (what is known of a function's
            folder), "upload" (that nobody went on with) or "leftover" (of a killed build).
        name: Its name in the store; of a folder, its path.
        size: Bytes.
        paths: Its files and folders, in the order in which they must go.
    """

    kind: str
    name: str
    size: int
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was freed, or would be.

    Attributes:
        items: One by one.
        kept: Bytes that the store still takes.
    """

    items: tuple[Item, ...]
    kept: int

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(item.size for item in self.items)


def prune(
    store: Store,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Pruned:
    """Frees what nothing uses, once no build is at work.

    Args:
        store: The store.
        dry_run: Whether to only tell what would go.
        limit: Bytes; as long as the store takes more, what was used least recently goes as well.
            None leaves all that is used.
        on_wait: Called once if a build is at work.

    Raises:
        StorageError: When something cannot be removed.
    """
    with store.guard(GUARD_OF_STORE, on_wait=on_wait):
        return _Pruning(store).run(limit, dry_run=dry_run)


def enforce_bound(store: Store, limit: int, built: FolderRecord | None) -> Pruned | None:
    """Keeps the store within its bound after a build.

    Args:
        store: The store.
        limit: Bytes.
        built: The folder that was just built, which stays; None where none was.

    Returns:
        What was freed; None when nothing had to be, or when another build is at work, which will
        do it.
    """
    try:
        with store.guard(GUARD_OF_STORE, wait=False):
            pruning = _Pruning(store)
            if pruning.total <= limit:
                return None
            keep = None if built is None else record_path(store, built)
            return pruning.run(limit, dry_run=False, keep=keep)
    except BlockingIOError:
        return None


class _Pruning:
    """One look at the store, taken while nobody builds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._roots: list[tuple[Path, FolderRecord]] = []
        self._gone: list[Item] = []
        for path in sorted(store.folders.glob("*.json")):
            record = FolderRecord.read(path)
            if record is not None and (Path(record.folder) / CONFIG_NAME).exists():
                self._roots.append((path, record))
            else:
                self._gone.append(_folder_item(path, record))
        self._items = {
            "environment": {item.name: item for item in _environments(store)},
            "bundle": {item.name: item for item in _files("bundle", store.bundles.glob("*.json"))},
            "lock": {item.name: item for item in _files("lock", store.locks.glob("*.txt"))},
            "blob": {item.name: item for item in _files("blob", store.blobs.all())},
        }
        self._leftovers = [
            Item("leftover", path.name, _size(path), (path,)) for path in store.scratch.iterdir()
        ]
        self._leftovers += _files("upload", given_up(store))
        entries = RetainedArtifacts(store).entries()
        artifacts = [*awaited(store), *(entry.artifact for entry in entries)]
        self._needed_anyway = {
            "environment": {entry.environment for entry in entries},
            "bundle": {digits(artifact.bundle) for artifact in artifacts},
            "lock": {digits(artifact.lock) for artifact in artifacts},
        }

    @property
    def total(self) -> int:
        """Bytes that the store takes, without what is small."""
        return sum(item.size for kind in self._items.values() for item in kind.values())

    def run(self, limit: int | None, *, dry_run: bool, keep: Path | None = None) -> Pruned:
        if limit is not None:
            self._drop_roots(limit, keep)
        used = self._used([record for _, record in self._roots])
        unused = [
            item
            for kind, items in self._items.items()
            for name, item in items.items()
            if name not in used[kind]
        ]
        items = [*self._gone, *unused, *self._leftovers]
        if not dry_run:
            items = [item for item in items if self._remove(item)]
            self._remove_guards()
        freed = sum(item.size for item in items if item.kind in self._items)
        return Pruned(tuple(items), self.total - freed)

    def _used(self, roots: Sequence[FolderRecord]) -> dict[str, set[str]]:
        """Names of what is used, by kind."""
        used = {
            "environment": {record.environment for record in roots},
            "bundle": {digits(record.bundle) for record in roots},
            "lock": {digits(record.lock) for record in roots},
        }
        for kind, names in self._needed_anyway.items():
            used[kind] |= names
        for kind in ("environment", "bundle"):
            others = self._items[kind].keys() - used[kind]
            used[kind] |= {name for name in others if self._store.is_held(name)}
        used["blob"] = set()
        for name in used["bundle"] & self._items["bundle"].keys():
            with suppress(StorageError):  # damaged: it is removed, and the next build writes it
                used["blob"] |= {
                    digits(file.digest) for file in self._store.bundle(f"sha256:{name}").files
                }
        return used

    def _needed(self, roots: Sequence[FolderRecord]) -> int:
        """Bytes that some roots need."""
        used = self._used(roots)
        return sum(
            item.size
            for kind, items in self._items.items()
            for name, item in items.items()
            if name in used[kind]
        )

    def _drop_roots(self, limit: int, keep: Path | None) -> None:
        needed = self._needed([record for _, record in self._roots])
        for path, record in sorted(self._roots, key=lambda root: root[1].used):
            if needed <= limit:
                return
            if path == keep or any(map(self._store.is_held, (record.environment, record.bundle))):
                continue
            rest = [root for root in self._roots if root[0] != path]
            without = self._needed([record for _, record in rest])
            if without < needed:
                self._roots, needed = rest, without
                self._gone.append(_folder_item(path, record))

    def _remove(self, item: Item) -> bool:
        """Whether it could be removed: what somebody took up meanwhile stays."""
        with ExitStack() as alone:
            try:
                if item.kind in {"environment", "bundle"}:
                    alone.enter_context(self._store.guard(use_guard(item.name), wait=False))
                if item.kind == "environment":
                    alone.enter_context(self._store.guard(make_guard(item.name), wait=False))
            except BlockingIOError:
                return False
            for path in item.paths:
                _delete(path)
        return True

    def _remove_guards(self) -> None:
        """Removes lock files of what is no longer there and that nobody has."""
        for path in self._store.guards.glob("*-*.lock"):
            name = path.stem.partition("-")[2]
            places = (
                self._store.environments / name,
                self._store.marker_path(name),
                self._store.bundles / f"{name}.json",
            )
            if any(place.exists() for place in places):
                continue
            with suppress(BlockingIOError), self._store.guard(path.stem, wait=False):
                path.unlink(missing_ok=True)


def _environments(store: Store) -> Iterator[Item]:
    """Environments, those included that a killed build left without a marker."""
    for name in sorted({path.stem for path in store.environments.iterdir()}):
        root = store.environments / name
        marker = store.marker(name)
        size = _size(root) if marker is None else marker.size
        yield Item("environment", name, size, (store.marker_path(name), root))


def _files(kind: str, paths: Iterable[Path]) -> Iterator[Item]:
    for path in sorted(paths):
        yield Item(kind, path.stem, path.stat().st_size, (path,))


def _folder_item(path: Path, record: FolderRecord | None) -> Item:
    name = path.stem if record is None else record.folder
    return Item("folder", name, path.stat().st_size, (path,))


def _size(place: Path) -> int:
    if not os.path.lexists(place):  # a marker whose environment was removed by hand
        return 0
    return sum(path.lstat().st_size for path in (place, *place.rglob("*")) if not path.is_dir())


def _delete(path: Path) -> None:
    with writing(path), suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
