"""Packs the guest rooms, the part of DCF that a function's environment needs, into a wheel.

The wheel is made from the installed files. So the watcher that serves a function has the version of
the DCF that built it. The wheel has the same bytes on every machine.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import metadata, requires
from pathlib import Path

from dcf.files.storage import writing
from dcf.model.artifact import canonical_json, digest_of
from dcf.version import __version__

DISTRIBUTION = "dcframework"
RUNTIME_NAME = "dcf-runtime"

GUEST_ROOMS = (
    "__init__.py",
    "version.py",
    "py.typed",
    "errors.py",
    "settings.py",
    "files",
    "model",
    "telemetry",
    "protocol",
    "client",
    "function",
    "watcher",
)
"""The files and rooms that a function's environment also has (see ARCHITECTURE.md, Floors)."""

_TIME = (1980, 1, 1, 0, 0, 0)
_EXTRA = re.compile(r"""\s*(?:\band\s+)?extra\s*==\s*['"]runtime['"]\s*""")


@dataclass(frozen=True)
class RuntimeWheel:
    """The watcher's files and requirements.

    Attributes:
        files: Path in the wheel and content, sorted.
        requirements: The packages that the watcher needs, as PEP 508 lines.
        requires_python: The version specifier of the supported Pythons.
    """

    files: tuple[tuple[str, bytes], ...]
    requirements: tuple[str, ...]
    requires_python: str

    @classmethod
    def installed(cls, package: Path = Path(__file__).parent.parent) -> RuntimeWheel:
        """Read the files and the metadata of the running DCF."""
        needs = requires(DISTRIBUTION) or []
        return cls(
            files=tuple(sorted(_files(package))),
            requirements=tuple(sorted(filter(None, map(runtime_requirement, needs)))),
            requires_python=metadata(DISTRIBUTION)["Requires-Python"],
        )

    @cached_property
    def digest(self) -> str:
        """Digest of everything that determines the wheel."""
        files = [[path, digest_of(content)] for path, content in self.files]
        return digest_of(
            canonical_json([__version__, files, self.requirements, self.requires_python])
        )

    @property
    def minimum(self) -> tuple[int, int]:
        """The lowest supported Python version, as (major, minor)."""
        match = re.search(r">=\s*(\d+)\.(\d+)", self.requires_python)
        return (int(match.group(1)), int(match.group(2))) if match else (3, 0)

    def write_project(self, place: Path) -> None:
        """Write a project with the watcher's requirements, for the resolver."""
        lines = "".join(f"  {_toml(line)},\n" for line in self.requirements)
        with writing(place):
            place.mkdir()
            (place / "pyproject.toml").write_text(
                f'[project]\nname = "{RUNTIME_NAME}"\nversion = "{__version__}"\n'
                f"requires-python = {_toml(self.requires_python)}\n"
                f"dependencies = [\n{lines}]\n"
            )

    def write_wheel(self, place: Path) -> Path:
        """Write the wheel into a folder and return the wheel's path."""
        stem = f"dcf_runtime-{__version__}"
        about = f"{stem}.dist-info"
        needs = "".join(f"Requires-Dist: {line}\n" for line in self.requirements)
        files = [
            *self.files,
            (
                f"{about}/METADATA",
                f"Metadata-Version: 2.1\nName: {RUNTIME_NAME}\nVersion: {__version__}\n"
                f"Requires-Python: {self.requires_python}\n{needs}".encode(),
            ),
            (
                f"{about}/WHEEL",
                b"Wheel-Version: 1.0\nGenerator: dcf\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            ),
        ]
        record = "".join(f"{path},{_hash(content)},{len(content)}\n" for path, content in files)
        files.append((f"{about}/RECORD", f"{record}{about}/RECORD,,\n".encode()))
        wheel = place / f"{stem}-py3-none-any.whl"
        with writing(wheel), zipfile.ZipFile(wheel, "w") as archive:
            for path, content in files:
                entry = zipfile.ZipInfo(path, _TIME)
                entry.external_attr = 0o100644 << 16
                entry.create_system = 3
                archive.writestr(entry, content)
        return wheel


def runtime_requirement(line: str) -> str | None:
    """Return a requirement of the ``runtime`` extra without its marker; None for any other line.

    Build backends write the extra's marker in different ways: alone, after ``and``, with the rest
    in brackets, and with either quotes. The result is the same for all, so that locks do not depend
    on the tool that installed DCF.
    """
    requirement, _, marker = line.partition(";")
    if not _EXTRA.search(marker):
        return None
    rest = _EXTRA.sub("", marker).replace('"', "'").strip()
    if rest.startswith("(") and rest.endswith(")"):
        rest = rest[1:-1].strip()
    return f"{requirement.strip()}; {rest}" if rest else requirement.strip()


def _files(package: Path) -> Iterator[tuple[str, bytes]]:
    for room in GUEST_ROOMS:
        place = package / room
        for path in [place, *place.rglob("*")]:
            if path.is_file() and "__pycache__" not in path.parts:
                inside = path.relative_to(package).as_posix()
                yield f"{package.name}/{inside}", path.read_bytes()


def _hash(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def _toml(text: str) -> str:
    """Return a TOML string. Requirements contain both kinds of quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
