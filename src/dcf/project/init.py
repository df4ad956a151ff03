"""Creates the folder of a new function from its runtime's template."""

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
"""Suffix of a template's files, so that tools do not treat them as files of this project."""


@dataclass(frozen=True, slots=True)
class CreatedFunction:
    """A new function.

    Attributes:
        folder: The function's folder.
        files: Its files, relative to the folder, sorted.
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
) -> CreatedFunction:
    """Create the folder ``parent/name``, or nothing if anything fails.

    Args:
        name: Name of the function and of the folder.
        runtime: The template to copy.
        parent: An existing folder.
        config_name: Name of the config file.
        gateway: ``host:port`` for the config file; None takes :data:`DEFAULT_GATEWAY`.

    Raises:
        InvalidName: If ``name`` breaks the naming rule.
        ProjectError: If the runtime is unknown, or a name or address is invalid.
        FolderExists: If ``parent/name`` already exists.
        StorageError: If the folder cannot be written.
    """
    check_name(name)
    if problem := runtimes.runtime_problem(runtime):
        raise ProjectError(problem)
    address = gateway or DEFAULT_GATEWAY
    if not re.fullmatch(GATEWAY.pattern, address):
        raise ProjectError(f"gateway: expected {GATEWAY.expected}, got {address!r}")
    template = _template(runtime)
    taken = {"", "..", *(path.parts[0] for path in template if path != Path(CONFIG_NAME))}
    if Path(config_name).name != config_name or config_name in taken:
        expected = "expected a name without a folder that no other file has"
        raise ProjectError(f"config file: {expected}, got {config_name!r}")
    words = {"name": name, "runtime": runtime, "gateway": address}
    files = {
        Path(config_name) if path == Path(CONFIG_NAME) else path: _filled(text, words)
        for path, text in template.items()
    }
    folder = parent / name
    _write_folder(folder, files)
    return CreatedFunction(folder, tuple(sorted(files)))


def dockerfile_changed(folder: Path, runtime: str) -> bool:
    """Return whether the folder's Dockerfile differs from the template's.

    Line endings do not matter. Without a Dockerfile, the result is false.
    """
    try:
        text = (folder / "Dockerfile").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rstrip() != _template(runtime)[Path("Dockerfile")].rstrip()


def _template(runtime: str) -> dict[Path, str]:
    files = {}
    for layer in runtimes.layers(runtime):
        root = _TEMPLATES / layer
        for path in root.rglob(f"*{_SUFFIX}"):
            files[path.relative_to(root).with_suffix("")] = path.read_text(encoding="utf-8")
    return files


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text


def _write_folder(folder: Path, files: dict[Path, str]) -> None:
    """Write a folder beside ``folder`` and rename it at the end, which is atomic."""
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        # A rename would silently replace an empty folder.
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
        raise kind(f"{folder} could not be created: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
