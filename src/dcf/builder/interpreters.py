"""Finds the Python interpreter of a function."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dcf.builder.build_progress import SILENT, Listener, step
from dcf.builder.uv import Uv
from dcf.errors import BuildError, BuildTimeout, InterpreterNotFound

_PROBE = """
import json, os, platform, sys, sysconfig
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([os.path.realpath(base), sys.implementation.name, platform.python_version(),
                  sys.version, sysconfig.get_platform(), platform.machine()]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python interpreter on this machine.

    Attributes:
        path: The interpreter's file, with all links resolved.
        implementation: For example ``cpython``.
        version: For example ``3.12.1``.
        build: ``sys.version``: with compiler and date it distinguishes two builds of a version.
        platform: The platform as ``sysconfig`` names it.
        machine: The processor's architecture.
    """

    path: str
    implementation: str
    version: str
    build: str
    platform: str
    machine: str

    @property
    def minor(self) -> tuple[int, int]:
        """Version as (major, minor)."""
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)


@cache
def own_interpreter() -> Interpreter:
    """Return the interpreter that runs this process, outside its virtual environment."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter(
        os.path.realpath(base),
        sys.implementation.name,
        platform.python_version(),
        sys.version,
        sysconfig.get_platform(),
        platform.machine(),
    )


def find_interpreter(
    wanted: str | None,
    uv: Uv,
    listener: Listener,
    *,
    minimum: tuple[int, int],
    offline: bool = False,
) -> Interpreter:
    """Return the interpreter of a function.

    Args:
        wanted: The version in config.yaml, for example ``3.12``; None selects the interpreter that
            runs this process.
        uv: Finds the interpreter, and downloads it if it is not installed.
        listener: Receives progress of a download.
        minimum: The lowest version that the watcher supports.
        offline: Whether downloads are forbidden.

    Raises:
        InterpreterNotFound: If it is neither installed nor can be downloaded, or is too old.
    """
    own = own_interpreter()
    if wanted is None or (own.implementation == "cpython" and _is_version(own.version, wanted)):
        return own
    place = _find(wanted, uv)
    if place is None and not offline:
        _fetch(wanted, uv, listener)
        place = _find(wanted, uv)
    if place is None:
        raise _not_found(wanted, uv)
    interpreter = _probe(place, uv)
    if interpreter.minor < minimum:
        raise InterpreterNotFound(
            f"expected Python {dotted(minimum)} or later, which the watcher needs, got {wanted}"
        )
    return interpreter


def dotted(version: tuple[int, int]) -> str:
    """Return a (major, minor) version as text, for example ``3.12``."""
    return f"{version[0]}.{version[1]}"


def _is_version(version: str, wanted: str) -> bool:
    return version == wanted or version.startswith(f"{wanted}.")


def _find(wanted: str, uv: Uv) -> str | None:
    try:
        return uv.run(["python", "find", "--system", wanted], SILENT, offline=True).strip()
    except BuildTimeout:
        raise
    except BuildError:
        return None


def _fetch(wanted: str, uv: Uv, listener: Listener) -> None:
    with step(listener, "python", f"fetching Python {wanted}"):
        try:
            uv.run(["python", "install", wanted], listener)
        except BuildTimeout:
            raise
        except BuildError as error:
            raise _not_found(wanted, uv, error.output) from error


def _probe(place: str, uv: Uv) -> Interpreter:
    code, output = uv.run_program([place, "-I", "-S", "-c", _PROBE])
    try:
        return Interpreter(*json.loads(output))
    except (ValueError, TypeError) as error:
        raise InterpreterNotFound(
            f"{place}: expected a working Python interpreter, got exit code {code}"
        ) from error


def _not_found(wanted: str, uv: Uv, output: str = "") -> InterpreterNotFound:
    own = own_interpreter()
    installed = {own.version: own.path}
    try:
        listing = uv.run(["python", "list", "--only-installed"], SILENT, offline=True)
    except BuildError:
        listing = ""
    for line in listing.splitlines():
        match = re.match(r"cpython-(\d+\.\d+\.\d+)\S*\s+(.+?)(?: -> .*)?$", line)
        if match:
            installed.setdefault(match.group(1), str(Path(match.group(2))))
    versions = ", ".join(f"{version} ({path})" for version, path in sorted(installed.items()))
    return InterpreterNotFound(
        f"expected Python {wanted}, got neither an installed one nor a download; installed:"
        f" {versions}",
        output,
    )
