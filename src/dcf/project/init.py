"""A new function's folder, made from its runtime's template."""

from __future__ import annotations

import errno
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from dcf.errors import NO_SPACE, DiskFull, FolderExists, ProjectError, StorageError
from dcf.model.names import check_name
from dcf.project import runtimes
from dcf.project.config import CONFIG_NAME
from dcf.project.fields import GATEWAY

DEFAULT_GATEWAY = "127.0.0.1:32222"

_TEMPLATES = Path(__file__).parent / "templates"
_SUFFIX = ".in"
"""Ends the name of each file of a template, so that no tool takes it for this project's own."""


@dataclass(frozen=True, slots=True)
class Created:
    """What ``init`` made.

    Attributes:
        folder: The function's folder.
        files: The files in it, relative to it, sorted.
    """

    folder: Path
    files: tuple[Path, ...]


def init_function(
    name: str,
    *,
    runtime: str = runtimes.DEFAULT,
    parent: Path,
    config_name: str = CONFIG_NAME,
    gateway: str | None = None,
) -> Created:
    """Makes the folder ``parent/name``: all of it, or on any failure nothing.

    Args:
        name: The function's and the folder's name.
        runtime: The template to copy.
        parent: An existing folder.
        config_name: What the config file is called.
        gateway: ``host:port`` for the config file; None takes :data:`DEFAULT_GATEWAY`.

    Raises:
        InvalidName: When ``name`` breaks the naming rule.
        ProjectError: When there is no such runtime, or a name or address cannot be used.
        FolderExists: When something is at ``parent/name`` already.
        StorageError: When the disk refuses.
    """
    check_name(name)
    if reason := runtimes.why_unavailable(runtime):
        raise ProjectError(reason)
    address = gateway or DEFAULT_GATEWAY
    if not re.fullmatch(GATEWAY.pattern, address):
        raise ProjectError(f"{address!r} is no gateway: {GATEWAY.wanted} is wanted")
    template = _template(runtime)
    taken = {"", "..", *(path.parts[0] for path in template if path != Path(CONFIG_NAME))}
    if Path(config_name).name != config_name or config_name in taken:
        wanted = "a name that no other file has, without a folder, is wanted"
        raise ProjectError(f"{config_name!r} cannot name the config file: {wanted}")
    words = {"name": name, "runtime": runtime, "gateway": address}
    files = {
        Path(config_name) if path == Path(CONFIG_NAME) else path: _filled(text, words)
        for path, text in template.items()
    }
    folder = parent / name
    _write_folder(folder, files)
    return Created(folder, tuple(sorted(files)))


def dockerfile_changed(folder: Path, runtime: str) -> bool:
    """Whether the folder's Dockerfile says something else than the template's.

    Line ends do not count. A folder without a Dockerfile has not changed it.
    """
    try:
        text = (folder / "Dockerfile").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rstrip() != _template(runtime)[Path("Dockerfile")].rstrip()


def _template(runtime: str) -> dict[Path, str]:
    found = {}
    for layer in runtimes.layers(runtime):
        root = _TEMPLATES / layer
        for path in root.rglob(f"*{_SUFFIX}"):
            found[path.relative_to(root).with_suffix("")] = path.read_text(encoding="utf-8")
    return found


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text


def _write_folder(folder: Path, files: dict[Path, str]) -> None:
    """Writes beside the goal and renames at the end, which either happens or does not."""
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        # A rename would silently take the place of an empty folder.
        if folder.exists() or folder.is_symlink():
            raise FolderExists(folder)
        draft.mkdir()
        for path, text in files.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            (draft / path).write_text(text, encoding="utf-8", newline="\n")
        draft.rename(folder)
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR} and folder.exists():
            raise FolderExists(folder) from None
        kind = DiskFull if error.errno in NO_SPACE else StorageError
        raise kind(f"{folder} cannot be made: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
