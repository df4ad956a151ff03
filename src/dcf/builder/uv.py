"""The one place that starts uv."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Self

from uv import find_uv_bin

from dcf.builder.explain import explain
from dcf.builder.pip_settings import pip_settings
from dcf.builder.progress import Listener
from dcf.errors import BuildError

NEUTRAL = "/"
"""Where uv looks for a project's settings: not in the function's folder and those around it, whose
pyproject.toml and uv.toml speak of something else. The user's own uv.toml is honoured."""

RETRIES = "2"
"""How often uv asks an index again. Its own 3 make a build without a network take 6 seconds before
the cache is tried."""

KEPT = 400
"""Lines of output that are kept to explain a failure."""

PATIENCE = 10.0
"""Seconds for uv to end once it was interrupted, before it is killed."""

_LEFT_OUT = frozenset(
    {
        # They speak of the caller's own environment.
        "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX", "CONDA_DEFAULT_ENV",
        "__PYVENV_LAUNCHER__",
        # They would send uv elsewhere than it is told to go.
        "UV_PROJECT", "UV_WORKING_DIR", "UV_WORKING_DIRECTORY", "UV_SYSTEM_PYTHON", "UV_PYTHON",
        # The watcher's wheel is made here and stands in no lock.
        "UV_REQUIRE_HASHES",
    }
)  # fmt: skip

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@`'\"]+@")


class Stop:
    """Ends, from another thread, what uv does for one build."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = False
        self._process: subprocess.Popen[str] | None = None

    def set(self) -> None:
        """Interrupts uv if it runs, and keeps it from being started again."""
        with self._lock:
            self._asked = True
            if self._process is not None:
                self._process.terminate()

    def check(self) -> None:
        """Raises :class:`BuildError` once the end was asked for."""
        if self._asked:
            raise BuildError("the build was cancelled")

    @contextmanager
    def covering(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """Ends a process, too, while the block lasts."""
        with self._lock:
            self._process = process
            if self._asked:
                process.terminate()
        try:
            yield
        finally:
            with self._lock:
                self._process = None


class Uv:
    """Runs uv with the user's settings.

    Args:
        env: The environment to start from.

    Attributes:
        environment: What uv is started with.
        index_arguments: Settings for ``uv pip`` that have no variable.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        pip = pip_settings(env)
        self.environment = {
            "UV_HTTP_RETRIES": RETRIES,
            **{name: value for name, value in env.items() if name not in _LEFT_OUT},
            **pip.variables,
            "PATH": _searchable(env),
        }
        self.index_arguments = ["--no-index"] if pip.no_index else []
        self._binary = find_uv_bin()
        self._stop = Stop()

    def stopped_by(self, stop: Stop) -> Self:
        """The same, which ``stop`` ends."""
        other = copy(self)
        other._stop = stop  # noqa: SLF001  of the same class
        return other

    def run(
        self,
        arguments: Sequence[str],
        listener: Listener,
        *,
        folder: Path = Path(NEUTRAL),
        stdin: str = "",
        offline: bool = False,
        inherited: Sequence[int] = (),
    ) -> str:
        """Runs a command to its end and returns what it wrote to stdout.

        Args:
            arguments: The command and its arguments.
            listener: Hears every line of stderr.
            folder: Working directory, to which paths in requirements are relative.
            stdin: What it reads.
            offline: Whether the network is forbidden.
            inherited: Descriptors that uv holds on to, even if this process is killed.

        Raises:
            BuildError: Or a class below it, which says what went wrong.
            DiskFull: When uv found no space.
        """
        self._stop.check()
        command = [self._binary, *arguments, "--project", NEUTRAL, "--color", "never"]
        command.append("--no-progress")
        if offline:
            command.append("--offline")
        lines: deque[str] = deque(maxlen=KEPT)
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as source,
            tempfile.TemporaryFile("w+", encoding="utf-8") as sink,
        ):
            source.write(stdin)
            source.seek(0)
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=self.environment,
                stdin=source,
                stdout=sink,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                pass_fds=inherited,
            )
            try:
                with self._stop.covering(process):
                    _listen(process, lines, listener)
            except BaseException:
                _end(process)
                raise
            sink.seek(0)
            written = sink.read()
        self._stop.check()
        if process.returncode != 0:
            raise explain(list(lines), folder)
        return written


def _listen(process: subprocess.Popen[str], lines: deque[str], listener: Listener) -> None:
    """Passes on the output until the process has ended."""
    if process.stderr is None:
        raise AssertionError("started without a pipe")
    with process.stderr:
        for raw in process.stderr:
            line = redacted(raw.rstrip())
            lines.append(line)
            listener.output(line)
    process.wait()


def _end(process: subprocess.Popen[str]) -> None:
    """Ends uv. It shares our process group, so that a terminal's interrupt reaches the builds that
    it runs, and so that ssh may ask the terminal for a passphrase.
    """
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def redacted(text: str) -> str:
    """The text with no name and no password in its URLs."""
    return _CREDENTIALS.sub("***@", text)


def _searchable(env: Mapping[str, str]) -> str:
    """PATH with pyenv's interpreters for pyenv's shims.

    A shim of a version that is not selected fails, and uv then gives up the whole search.
    """
    root = Path(env.get("PYENV_ROOT") or Path(env.get("HOME") or "~").expanduser() / ".pyenv")
    shims = str(root / "shims")
    places: list[str] = []
    for place in env.get("PATH", os.defpath).split(os.pathsep):
        if place.rstrip("/") == shims:
            places += sorted((str(found) for found in root.glob("versions/*/bin")), reverse=True)
        else:
            places.append(place)
    return os.pathsep.join(places)
