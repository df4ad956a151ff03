"""Runs the commands of a page as a reader types them.

In a ``console`` block each line that begins with ``$ `` is a command, and the lines after it are
what the terminal must show. A command without such lines must succeed; what it prints is not
checked. ``...`` stands for any text. A block of another language is a file, if the paragraph
before it ends with the file's name: ``Write `shout/src/handler.py`:``.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
GATEWAY_PORT = "32222"
"""Port of the gateway on every page. A test takes a free one."""
SERVE_PORT = "8080"
"""Port of ``serve`` on every page."""
HOME = "/home/me"
"""Where the reader stands on every page."""
SECONDS = 120
"""Maximum for a command, which may have to fetch packages."""
SERVING_SECONDS = 40
"""Maximum until a function that is built already is served."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: The word after the fence.
        text: The lines of the block.
        before: The paragraph before it.
    """

    language: str
    text: str
    before: str

    @property
    def file(self) -> str | None:
        """Path of the file that the block shows; None if it shows no file."""
        if self.language == "python":
            named = re.search(r"`([\w./-]*[\w-]+\.py)`", self.before)
        else:
            named = re.search(r"`([\w./~-]+)`:$", self.before)
        return named and named.group(1)


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    found = []
    text = document.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        before = text[: match.start()].rstrip().rpartition("\n\n")[2]
        found.append(Block(match.group(1), match.group(2), before))
    return found


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console block, each with what it shows."""
    for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = step.partition("\n")
        while command.endswith("\\"):
            more, _, shown = shown.partition("\n")
            command = f"{command[:-1].rstrip()} {more.strip()}"
        yield command, shown


class Reader:
    """A person who follows pages on a machine of their own.

    Args:
        cwd: The folder where the person stands, which is also the home directory.
        env: The environment of the commands.
        ports: The ports to use in place of those on the pages.

    Attributes:
        cwd: As given.
        ran: The commands that ran.
    """

    def __init__(self, cwd: Path, env: Mapping[str, str], ports: Mapping[str, str]) -> None:
        self.ran: list[str] = []
        self.cwd = cwd
        self._env = dict(env)
        self._replaced = dict(ports)
        self._background = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._background.close()
        _terminal("dcf-cli gateway stop", self.cwd, self._env)

    def follow(self, document: Path, *, left_out: Mapping[str, str] | None = None) -> None:
        """Write the files of a page, run its commands, and compare what they show.

        Args:
            document: The page.
            left_out: Commands that are not run, each with the reason.
        """
        for block in blocks(document):
            if block.language != "console":
                if block.file is not None:
                    self._write(block.file, block.text)
                continue
            for command, shown in steps(block.text):
                if command not in (left_out or {}):
                    self.ran.append(command)
                    self._run(command, shown)

    def replace(self, text: str, own: str) -> None:
        """Use another text in place of one on the pages, such as an address."""
        self._replaced[text] = own

    def use_programs_of(self, folder: Path) -> None:
        """Put a folder before the others on the path."""
        self._env["PATH"] = f"{folder}{os.pathsep}{self._env['PATH']}"

    def type(self, command: str) -> None:
        """Run a command that is on no page; it must succeed."""
        self._run(command, "")

    def _write(self, file: str, text: str) -> None:
        path = self.cwd / file.removeprefix("~/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._adapted(text))

    def _adapted(self, text: str) -> str:
        for page, own in self._replaced.items():
            text = text.replace(page, own)
        return text

    def _run(self, command: str, shown: str) -> None:
        typed = self._adapted(command)
        if "gateway start" in typed and "--port" not in typed:
            typed = typed.replace(
                "gateway start", f"gateway start --port {self._replaced[GATEWAY_PORT]}"
            )
        code = 0
        if command.startswith("curl ") and not shutil.which("curl"):
            out = _curl(typed)
        elif " serve " in typed:
            until = self._adapted(shown).rstrip().splitlines()[-1]
            out = self._background.enter_context(_serving(typed, self.cwd, self._env, until))
        else:
            out, code = _terminal(typed, self.cwd, self._env)
        if not shown.strip():
            assert code == 0, f"$ {command}\n{out}"
            return
        expected = settled(self._adapted(shown), HOME)
        lines = settled(out, str(self.cwd), expected)
        pattern = re.escape("\n".join(expected)).replace(re.escape("..."), ".*")
        assert re.fullmatch(pattern, "\n".join(lines), re.DOTALL), f"$ {command}\n{out}"


_PROGRESS = re.compile(r"  \w+: .* \(N s\)")


def settled(text: str, home: str, expected: list[str] | None = None) -> list[str]:
    """Return the lines of a terminal without what differs between machines and runs.

    Args:
        text: What the terminal shows.
        home: The folder that the page calls ``/home/me``.
        expected: The lines of the page, if ``text`` is not the page. Lines of progress that it
            does not have are left out.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", text.replace("\r\n", "\n").replace(home, HOME))
    text = re.sub(r"^.*\r\x1b\[K", "", text, flags=re.MULTILINE)  # a progress line that was erased
    text = re.sub(r"\(\d+\.\d s\)", "(N s)", text)
    text = re.sub(r"sha256:[0-9a-f]{12}", "sha256:N", text)
    text = re.sub(
        r"^\d{4}-\d\d-\d\dT[\d:.]+Z (\S+)-[0-9a-f]{8} ", r"TIME \1 ", text, flags=re.MULTILINE
    )
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID", text)
    text = re.sub(r"^GPU: .*\n(     .*\n)*", "GPU\n", text, flags=re.MULTILINE)
    lines = []
    for line in map(str.rstrip, text.splitlines()):
        if re.fullmatch(r"\s*[~^]*", line):
            continue  # empty, or a traceback's marks, which each Python sets in its own way
        if not _PROGRESS.fullmatch(line):
            lines.append(line)
            continue
        step = re.sub(r"\d[\d.]*( [KMG]iB)?", "N", line)
        if (
            expected is None or step in expected
        ):  # whether a file is read again depends on the clock
            lines.append(step)
    return lines


def _terminal(command: str, cwd: Path, env: Mapping[str, str]) -> tuple[str, int]:
    """Return what a terminal shows of a command, and its exit code."""
    with _started(command, cwd, env) as (process, screen):
        out = _read(screen, lambda _: False)
        code = process.wait(SECONDS)
    return out, code


@contextlib.contextmanager
def _serving(command: str, cwd: Path, env: Mapping[str, str], until: str) -> Iterator[str]:
    """Run a command that does not end; yield what it shows up to ``until``."""
    with _started(command, cwd, env) as (process, screen):
        yield _read(screen, lambda shown: until in shown, SERVING_SECONDS)
        rest = threading.Thread(target=_read, args=(screen, lambda _: False))
        rest.start()  # a full terminal would block the command
        os.killpg(process.pid, signal.SIGINT)
        process.wait(SECONDS)
        rest.join()


@contextlib.contextmanager
def _started(
    command: str, cwd: Path, env: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    screen, other_end = pty.openpty()
    try:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=other_end,
            stderr=other_end,
            start_new_session=True,
        )
    finally:
        os.close(other_end)
    try:
        yield process, screen
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(screen)


def _read(screen: int, enough: Callable[[str], bool], seconds: float = SECONDS) -> str:
    """Read a terminal until ``enough`` returns true, or until its other end is closed."""
    shown = b""
    end = time.monotonic() + seconds
    while not enough(shown.decode(errors="replace")):
        readable, _, _ = select.select([screen], [], [], max(0.0, end - time.monotonic()))
        assert readable, f"no output for {seconds} s after {shown.decode()}"
        try:
            data = os.read(screen, 65536)
        except OSError:  # Linux reports so that the other end is closed
            break
        if not data:
            break
        shown += data
    return shown.decode()


def _curl(command: str) -> str:
    """Return what a plain ``curl -d DATA URL`` shows, on a machine without curl."""
    _, flag, data, url = shlex.split(command)
    assert flag == "-d"
    try:
        with urllib.request.urlopen(url, data.encode(), timeout=30) as reply:
            return str(reply.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def home_of(cwd: Path, environment: Mapping[str, str], gateway: str) -> dict[str, str]:
    """Return the environment of a new user whose home is ``cwd``.

    Packages come from where the user of the tests has them from.

    Args:
        cwd: The folder.
        environment: That of the tests, with a short ``DCF_RUNTIME_DIR``.
        gateway: Port of the user's gateway.
    """
    foreign = ("DCF_", "XDG_", "PYTHON", "VIRTUAL_ENV")
    env = {name: value for name, value in environment.items() if not name.startswith(foreign)}
    caches = environment.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    env.setdefault("UV_CACHE_DIR", str(Path(caches, "uv")))
    settings = Path("~/.config/pip/pip.conf").expanduser()
    if settings.is_file():
        env.setdefault("PIP_CONFIG_FILE", str(settings))
    return env | {
        "DCF_GATEWAY": f"127.0.0.1:{gateway}",
        "DCF_RUNTIME_DIR": environment["DCF_RUNTIME_DIR"],
        "HOME": str(cwd),
        "LC_ALL": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(cwd.parent),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
    }
