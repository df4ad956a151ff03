"""Runs uv. No other module starts it."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Self

from uv import find_uv_bin

from dcf.builder.build_progress import SILENT, Listener
from dcf.builder.explain import explain
from dcf.builder.pip_settings import pip_settings
from dcf.errors import BuildError, BuildTimeout
from dcf.files.storage import temporary_file
from dcf.settings import RESERVED_PREFIX, BuildSettings
from dcf.supervision.process_tree import ProcessTree

NEUTRAL = "/"
"""The folder in which uv looks for a project's settings. The pyproject.toml and uv.toml in the
function's folder and its parents have other purposes. uv also reads the user's own uv.toml."""

RETRIES = "2"
"""uv's retries of an index. With its default of 3, a build without a network takes 6 seconds before
it tries the cache."""

KEPT = 400
"""Lines of output that are kept to explain a failure."""

_LEFT_OUT = frozenset(
    {
        # They describe the caller's own environment.
        "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX", "CONDA_DEFAULT_ENV",
        "__PYVENV_LAUNCHER__",
        # They would override the folder and the interpreter that the builder passes.
        "UV_PROJECT", "UV_WORKING_DIR", "UV_WORKING_DIRECTORY", "UV_SYSTEM_PYTHON", "UV_PYTHON",
        # The watcher's wheel is made here and is not in the lock.
        "UV_REQUIRE_HASHES",
    }
)  # fmt: skip

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@`'\"]+@")


_BEGUN = re.compile(r"\s*(?:Building|Downloading|DEBUG Preparing metadata for:) (\S+)")
_DONE = re.compile(r"\s*(?:Built|Downloaded|Failed to build|DEBUG Prepared metadata for:) (\S+)")
"""Lines in which uv reports which package it works on and which one is done."""

_LOG = {"RUST_LOG": "uv_distribution=debug"}
"""Makes uv log whose metadata it builds while it resolves. Such lines are not shown."""


class BuildStop:
    """Ends uv's work for one build, when another thread cancels it or its time is used up.

    Args:
        timeout: Seconds that uv may work in all; 0 sets no limit, None takes :attr:`Uv.timeout`.
            Time spent waiting for other builds does not count.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self.timeout = timeout
        self._worked = 0.0
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._tree: ProcessTree | None = None

    def set(self) -> None:
        """End uv and every process it started, and do not start it again."""
        with self._lock:
            self._asked.set()
            if self._tree is not None:
                self._tree.end()

    def check(self) -> None:
        """Raise :class:`BuildError` if the build was cancelled."""
        if self._asked.is_set():
            raise BuildError("the build was cancelled")

    def pause(self, seconds: float) -> None:
        """Wait for some seconds; raise :class:`BuildError` if the build is cancelled."""
        self._asked.wait(seconds)
        self.check()

    @contextmanager
    def covering(self, tree: ProcessTree) -> Iterator[float]:
        """Also end a process tree, if that is needed during the block; yield its deadline."""
        with self._lock:
            self._tree = tree
            if self._asked.is_set():
                tree.end()
        began = time.monotonic()
        try:
            yield began + (self.timeout or math.inf) - self._worked
        finally:
            with self._lock:
                self._tree = None
                self._worked += time.monotonic() - began


class Uv:
    """Runs uv with the user's settings.

    Args:
        env: The caller's environment.

    Attributes:
        environment: uv's environment.
        index_arguments: Settings for ``uv pip`` that have no variable.
        timeout: Seconds that uv may work for one build; 0 sets no limit.

    Raises:
        ConfigError: If the time limit in the environment is not a number.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        pip = pip_settings(env)
        self.environment = {
            "UV_HTTP_RETRIES": RETRIES,
            **_LOG,
            **{name: value for name, value in env.items() if not _is_left_out(name)},
            **pip.variables,
            "PATH": _searchable(env),
        }
        self.index_arguments = ["--no-index"] if pip.no_index else []
        self.timeout = BuildSettings.from_mapping(env).timeout
        self._binary = find_uv_bin()
        self._stop = BuildStop()

    def stopped_by(self, stop: BuildStop) -> Self:
        """Return a copy that ``stop`` cancels."""
        if stop.timeout is None:
            stop.timeout = self.timeout
        other = copy(self)
        other._stop = stop  # noqa: SLF001  of the same class
        return other

    @property
    def stop(self) -> BuildStop:
        """Cancels the current build."""
        return self._stop

    def limited(self) -> Self:
        """Return a copy for one build, with the whole time limit left."""
        return self.stopped_by(BuildStop())

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
        """Run a command until it ends; return what it wrote to stdout.

        No process that the command started outlives it, even if this process is killed.

        Args:
            arguments: The command and its arguments.
            listener: Receives every line of stderr.
            folder: Working directory, to which paths in requirements are relative.
            stdin: The text for standard input.
            offline: Whether the network is forbidden.
            inherited: Descriptors that stay open until all processes have ended, even if this
                process is killed.

        Raises:
            BuildError: If the command fails; the subclass names the cause.
            BuildTimeout: If the build has used up its time.
            DiskFull: If no space is left.
        """
        command = [self._binary, *arguments, "--project", NEUTRAL, "--color", "never"]
        command.append("--no-progress")
        if offline:
            command.append("--offline")
        lines: deque[str] = deque(maxlen=KEPT)
        code, written = self._run(command, lines, listener, folder, stdin, inherited)
        if code != 0:
            raise explain(list(lines), folder)
        return written

    def run_program(self, command: Sequence[str]) -> tuple[int, str]:
        """Run another program as part of the build.

        Args:
            command: The program and its arguments.

        Returns:
            Its exit code, and what it wrote to stdout.

        Raises:
            BuildError: If the build was cancelled.
            BuildTimeout: If the build has used up its time.
        """
        return self._run(command, deque(maxlen=KEPT), SILENT, Path(NEUTRAL), "", ())

    def _run(
        self,
        command: Sequence[str],
        lines: deque[str],
        listener: Listener,
        folder: Path,
        stdin: str,
        inherited: Sequence[int],
    ) -> tuple[int, str]:
        self._stop.check()
        at_work: dict[str, None] = {}
        with temporary_file(stdin) as source, temporary_file() as sink:
            with (
                ProcessTree(
                    command,
                    env=self.environment,
                    cwd=folder,
                    stdin=source,
                    stdout=sink,
                    pass_fds=inherited,
                ) as tree,
                self._stop.covering(tree) as until,
            ):
                try:
                    for raw in tree.lines(until):
                        line = redacted(raw)
                        _note_work(line, at_work)
                        if line.startswith("DEBUG "):
                            continue
                        lines.append(line)
                        listener.output(line)
                except TimeoutError:
                    raise _too_long(self._stop.timeout or 0, at_work, lines) from None
            self._stop.check()
            sink.seek(0)
            return tree.returncode, sink.read()


def _note_work(line: str, at_work: dict[str, None]) -> None:
    """Note which packages uv works on."""
    if begun := _BEGUN.match(line):
        at_work[begun[1]] = None
    elif done := _DONE.match(line):
        at_work.pop(done[1], None)


def _too_long(limit: float, at_work: Iterable[str], lines: Iterable[str]) -> BuildTimeout:
    packages = " and ".join(at_work)
    work = f" while it worked on {packages}" if packages else ""
    return BuildTimeout(
        f"expected the build to end within {limit:g} s (DCF_BUILD_TIMEOUT), got a timeout{work}",
        "\n".join(lines),
    )


def redacted(text: str) -> str:
    """Return the text without user names and passwords in its URLs."""
    return _CREDENTIALS.sub("***@", text)


def _is_left_out(name: str) -> bool:
    """Return whether to hide a variable from uv.

    DCF's own variables, such as a gateway's token, must not reach the code of packages, which runs
    during a build.
    """
    return name in _LEFT_OUT or name.startswith(RESERVED_PREFIX)


def _searchable(env: Mapping[str, str]) -> str:
    """Return PATH with pyenv's shims replaced by pyenv's interpreters.

    The shim of a version that is not selected fails, and uv then ends its whole search.
    """
    root = Path(env.get("PYENV_ROOT") or Path(env.get("HOME") or "~").expanduser() / ".pyenv")
    shims = str(root / "shims")
    places: list[str] = []
    for place in env.get("PATH", os.defpath).split(os.pathsep):
        if place.rstrip("/") == shims:
            places += sorted((str(bin_) for bin_ in root.glob("versions/*/bin")), reverse=True)
        else:
            places.append(place)
    return os.pathsep.join(places)
