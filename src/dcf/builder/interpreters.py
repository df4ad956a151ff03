"""Which Python a function gets."""

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
    """A Python on this machine.

    Attributes:
        path: The real file, behind every link.
        implementation: ``cpython``, for one.
        version: ``3.12.1``.
        build: The version with compiler and date, which tells two builds of one version apart.
        platform: As ``sysconfig`` names it.
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
    """The Python that runs this process, behind its virtual environment."""
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
    """The interpreter that a function asks for.

    Args:
        wanted: As in config.yaml, ``3.12`` for one; None takes the one that runs this process.
        uv: Finds it, and fetches it when it is not here.
        listener: Hears of a download.
        minimum: The lowest version that the watcher runs on.
        offline: Whether nothing may be fetched.

    Raises:
        InterpreterNotFound: When it is not here and cannot be fetched, or is too old.
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
    found = _probe(place, uv)
    if found.minor < minimum:
        lowest = ".".join(map(str, minimum))
        raise InterpreterNotFound(
            f"Python {wanted} is asked for; the watcher needs Python {lowest} or later"
        )
    return found


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
    code, told = uv.run_program([place, "-I", "-S", "-c", _PROBE])
    try:
        return Interpreter(*json.loads(told))
    except (ValueError, TypeError) as error:
        raise InterpreterNotFound(f"{place} does not run: exit code {code}") from error


def _not_found(wanted: str, uv: Uv, output: str = "") -> InterpreterNotFound:
    own = own_interpreter()
    here = {own.version: own.path}
    try:
        listed = uv.run(["python", "list", "--only-installed"], SILENT, offline=True)
    except BuildError:
        listed = ""
    for line in listed.splitlines():
        found = re.match(r"cpython-(\d+\.\d+\.\d+)\S*\s+(.+?)(?: -> .*)?$", line)
        if found:
            here.setdefault(found.group(1), str(Path(found.group(2))))
    shown = ", ".join(f"{version} ({path})" for version, path in sorted(here.items()))
    return InterpreterNotFound(
        f"Python {wanted} is not on this machine and could not be fetched; here are: {shown}",
        output,
    )
