"""Removes unused items from the store.

In use is what these need: folders that were built and still have their config.yaml, gateways
(:class:`dcf.builder.retained.RetainedArtifacts`), uploads in progress
(:class:`dcf.builder.uploads.Uploads`), and processes that hold an item
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
"""The file that makes a folder a function's folder."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item in the store.

    Attributes:
        kind: "environment", "bundle", "lock", "blob", "folder" (the record of a function's folder),
            "upload" (an abandoned one) or "leftover" (of a killed build).
        name: The item's name in the store; for a folder its path.
        size: Bytes.
        paths: The item's files and folders, in the order in which to remove them.
    """

    kind: str
    name: str
    size: int
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of pruning, or of a dry run.

    Attributes:
        items: The removed items.
        kept: Bytes that remain in the store.
    """

    items: tuple[Item, ...]
    kept: int

    @property
    def freed(self) -> int:
        """Bytes of the removed items."""
        return sum(item.size for item in self.items)


def prune(
    store: Store,
    *,
    dry_run: bool = False,
    limit: int | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Pruned:
    """Remove unused items as soon as no build runs.

    Args:
        store: The store.
        dry_run: Whether to only list what a prune would remove.
        limit: Maximum bytes of the store. Above it the least recently used items are removed too.
            None keeps everything in use.
        on_wait: Called once if a build runs.

    Raises:
        StorageError: If an item cannot be removed.
    """
    with store.guard(GUARD_OF_STORE, on_wait=on_wait):
        return _Pruning(store).run(limit, dry_run=dry_run)


def enforce_limit(store: Store, limit: int, built: FolderRecord | None) -> Pruned | None:
    """Keep the store within its limit after a build.

    Args:
        store: The store.
        limit: Maximum bytes of the store.
        built: The record of the folder that was just built, which stays; None for an artifact.

    Returns:
        The removed items; None if the store is within its limit, or if another build runs. That
        build enforces the limit when it ends.
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
    """A snapshot of the store, taken while no build runs."""

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
        """Bytes of environments, bundles, locks and blobs."""
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
        """Return the names of the items in use, by kind."""
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
            # If it is damaged, it is removed, and the next build writes it again.
            with suppress(StorageError):
                used["blob"] |= {
                    digits(file.digest) for file in self._store.bundle(f"sha256:{name}").files
                }
        return used

    def _needed(self, roots: Sequence[FolderRecord]) -> int:
        """Return the bytes that some roots need."""
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
        """Remove an item; return False if a process holds it by now."""
        with ExitStack() as guards:
            try:
                if item.kind in {"environment", "bundle"}:
                    guards.enter_context(self._store.guard(use_guard(item.name), wait=False))
                if item.kind == "environment":
                    guards.enter_context(self._store.guard(make_guard(item.name), wait=False))
            except BlockingIOError:
                return False
            for path in item.paths:
                _delete(path)
        return True

    def _remove_guards(self) -> None:
        """Remove the lock files of removed items, except those that a process holds."""
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
    """Yield all environments, including those that a killed build left without a marker."""
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
