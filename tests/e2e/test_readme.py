"""README.md is executed, README.ko.md has the same code, and docs/reference/handler.md's example is tested.

In README.md a ``console`` block is a terminal: each line that begins with ``$ `` is typed, and what
follows it must come out. A python block is written to the file that the paragraph before it names.
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

import pytest

from ports import free_port

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
KOREAN = ROOT / "README.ko.md"

MAIN_JOB = (
    "python3 -m venv .venv && .venv/bin/pip install . &&"
    ' echo "Hello" | .venv/bin/dcf-cli function run examples/01-hello-dcf'
)
TEST_JOB = 'python3 -m venv .venv && .venv/bin/pip install ".[test]" && .venv/bin/pytest'

PORT = "8080"
"""Of ``serve`` in README.md; the tests take a free one."""
GATEWAY_PORT = "32222"
"""Of the gateway; likewise."""
HOME = "/home/me"
"""In README.md, where the reader stands."""
SECONDS = 120
"""For a command that may have to fetch packages."""
SERVING_SECONDS = 40
"""Until a function that is built already is served."""


@dataclass(frozen=True)
class Block:
    """A fenced block, its language and the paragraph before it."""

    language: str
    text: str
    before: str


def blocks(document: Path) -> list[Block]:
    found = []
    text = document.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        before = text[: match.start()].rstrip().rpartition("\n\n")[2]
        found.append(Block(match.group(1), match.group(2), before))
    return found


# The two commands that everything depends on


def test_the_first_screen_has_the_two_commands_word_for_word() -> None:
    first, second = blocks(README)[:2]

    assert first.text == MAIN_JOB + "\n"
    assert second.text == TEST_JOB + "\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a fresh clone would hold, files that are about to be added included."""
    listed = _git("ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if Path(_git("rev-parse", "--show-toplevel").strip()).resolve() != ROOT.resolve():
        pytest.skip("this is no clone: what belongs to the project is not known")
    tracked = set(_git("ls-files", "-z").split("\0"))
    copy = tmp_path / "clone"
    for name in filter(None, listed.split("\0")):
        # A lock beside an example was left there by somebody's build.
        left_over = name.endswith("/requirements.lock") and name not in tracked
        if left_over or not (ROOT / name).is_file():
            continue
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    return copy


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no clone: what belongs to the project is not known")
    return done.stdout


@pytest.mark.network
def test_the_main_job_from_a_fresh_clone(checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()

    done = subprocess.run(
        ["bash", "-c", blocks(README)[0].text],
        cwd=checkout,
        env=_fresh(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    # Before the reply stands what pip says.
    assert done.stdout.splitlines()[-1] == "Hello DCF"
    assert (home / ".local" / "share" / "dcf").is_dir() or sys.platform == "darwin"


def _fresh(home: Path) -> dict[str, str]:
    """The environment of a new user of this machine, whose packages come from where ours do."""
    foreign = ("DCF_", "XDG_", "PYTHON", "VIRTUAL_ENV", "UV_CACHE_DIR")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env["HOME"] = str(home)
    # The interpreter that runs the tests is new enough; the first python3 on the path need not be.
    base = Path(getattr(sys, "_base_executable", sys.executable)).parent
    env["PATH"] = f"{base}{os.pathsep}{env['PATH']}"
    settings = Path("~/.config/pip/pip.conf").expanduser()
    if settings.is_file():
        env.setdefault("PIP_CONFIG_FILE", str(settings))
    return env


# The other steps, in order


def test_the_steps_print_what_the_readme_shows(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    port, gateway = str(free_port()), str(free_port())
    cwd = tmp_path / "me"
    cwd.mkdir()
    env = {
        **environment,
        "DCF_DATA_DIR": str(cwd / ".local" / "share" / "dcf"),
        "DCF_STATE_DIR": str(tmp_path / "state"),
        "DCF_GATEWAY": f"127.0.0.1:{gateway}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
        "LC_ALL": "C.UTF-8",
    }
    ran = 0
    with contextlib.ExitStack() as background:
        background.callback(_terminal, "dcf-cli gateway stop", cwd, env)
        for block in blocks(README):
            named = re.search(r"`([\w./-]*[\w-]+\.py)`", block.before)
            if block.language == "python" and named:
                (cwd / named.group(1)).write_text(block.text)
            if block.language != "console":
                continue
            text = block.text.replace(PORT, port).replace(GATEWAY_PORT, gateway)
            text = text.replace("gateway start", f"gateway start --port {gateway}")
            for command, shown in _steps(text):
                ran += 1
                if command.startswith("curl "):
                    out = _curl(command)
                elif " serve " in command:
                    until = shown.rstrip().splitlines()[-1]
                    out = background.enter_context(_serving(command, cwd, env, until))
                else:
                    out = _terminal(command, cwd, env)
                expected = _settled(shown, HOME)
                assert _settled(out, str(cwd), expected) == expected, f"$ {command}"
    assert ran >= 18


def _steps(text: str) -> Iterator[tuple[str, str]]:
    for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = step.partition("\n")
        yield command, shown


_PROGRESS = re.compile(r"  \w+: .* \(N s\)")


def _settled(text: str, home: str, expected: list[str] | None = None) -> list[str]:
    """The lines of a terminal without what differs from machine to machine and time to time."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text.replace("\r\n", "\n").replace(home, HOME))
    text = re.sub(r"^.*\r\x1b\[K", "", text, flags=re.MULTILINE)  # a progress line that was erased
    text = re.sub(r"\(\d+\.\d s\)", "(N s)", text)
    text = re.sub(r"sha256:[0-9a-f]{12}", "sha256:N", text)
    text = re.sub(
        r"^\d{4}-\d\d-\d\dT[\d:.]+Z (\S+)-[0-9a-f]{8} ", r"TIME \1 ", text, flags=re.MULTILINE
    )
    text = re.sub(r"^GPU: .*\n(     .*\n)*", "GPU\n", text, flags=re.MULTILINE)
    lines = []
    for line in map(str.rstrip, text.splitlines()):
        if re.fullmatch(r"\s*[~^]*", line):
            continue  # empty, or a traceback's marks, which each Python sets in its own way
        if not _PROGRESS.fullmatch(line):
            lines.append(line)
            continue
        step = re.sub(r"\d[\d.]*( [KMG]iB)?", "N", line)
        if expected is None or step in expected:  # a file's second reading depends on the clock
            lines.append(step)
    return lines


def _terminal(command: str, cwd: Path, env: Mapping[str, str]) -> str:
    """What a terminal shows of a command."""
    with _started(command, cwd, env) as (process, screen):
        out = _read(screen, lambda _: False)
        process.wait(SECONDS)
    return out


@contextlib.contextmanager
def _serving(command: str, cwd: Path, env: Mapping[str, str], until: str) -> Iterator[str]:
    """Runs a command that does not end; gives what it shows until it is at ``until``."""
    with _started(command, cwd, env) as (process, screen):
        yield _read(screen, lambda shown: until in shown, SERVING_SECONDS)
        rest = threading.Thread(target=_read, args=(screen, lambda _: False))
        rest.start()  # or the command waits for somebody to read
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
    """Reads a terminal until ``enough`` or until nobody writes any more."""
    shown = b""
    end = time.monotonic() + seconds
    while not enough(shown.decode(errors="replace")):
        readable, _, _ = select.select([screen], [], [], max(0.0, end - time.monotonic()))
        assert readable, f"nothing more came after {shown.decode()}"
        try:
            data = os.read(screen, 65536)
        except OSError:  # Linux's way to tell that the other end is closed
            break
        if not data:
            break
        shown += data
    return shown.decode()


def _curl(command: str) -> str:
    """The command by other means: curl need not be here."""
    _, flag, data, url = shlex.split(command)
    assert flag == "-d"
    try:
        with urllib.request.urlopen(url, data.encode(), timeout=30) as reply:
            return str(reply.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


# The Korean README and the handler's page


def test_the_korean_readme_has_the_same_code_in_the_same_order() -> None:
    ours, korean = blocks(README), blocks(KOREAN)

    assert [(one.language, one.text) for one in korean] == [
        (one.language, one.text) for one in ours
    ]


def test_the_korean_readme_has_the_same_headings_tables_and_links() -> None:
    def shape(document: Path) -> tuple[list[int], list[int], list[str]]:
        fenced = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
        text = fenced.sub("", document.read_text("utf-8"))
        headings = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
        rows = [line.count("|") for line in text.splitlines() if line.startswith("|")]
        links = re.findall(r"\]\(([^)#]+)", text)
        return headings, rows, [link for link in links if "README" not in link]

    assert shape(KOREAN) == shape(README)


def test_the_python_of_the_clients_page_compiles() -> None:
    examples = [
        one for one in blocks(ROOT / "docs" / "reference" / "client.md") if one.language == "python"
    ]

    assert len(examples) >= 5
    for example in examples:
        compile(example.text, "docs/reference/client.md", "exec")


def test_the_example_of_the_handlers_page_passes_its_own_test(tmp_path: Path) -> None:
    written = []
    for block in blocks(ROOT / "docs" / "reference" / "handler.md"):
        if block.language != "python":
            continue
        compile(block.text, "docs/reference/handler.md", "exec")
        named = re.search(r"`((?:src|tests)/[\w-]+\.py)`", block.before)
        if named:
            place = tmp_path / named.group(1)
            place.parent.mkdir(exist_ok=True)
            place.write_text(block.text)
            written.append(named.group(1))
    assert written == ["src/handler.py", "tests/test_handler.py"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed", done.stdout)
