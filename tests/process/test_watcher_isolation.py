"""No file, variable or package of the author's reaches the watcher before its limits hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from pathlib import Path

import pytest

from dcf import errors
from dcf.protocol.exits import WatcherExit
from dcf.settings import WatcherSettings
from process.conftest import Running
from process.watcher_process import Launch, WatcherProcess

pytestmark = pytest.mark.slow

ECHO = "def Handler(req): return req.input"

ALL_WAYS = """
import asyncio
class Handler:
    def __call__(self, req):
        if req.text == "fail": raise ValueError("meant")
        if req.text == "parts": return self.parts()
        if req.text == "json": return {"of": [1, 2]}
        if req.text == "late":
            while not req.cancelled: pass
        return req.input
    def parts(self):
        yield "a"
        yield "b"
"""

ASYNC_WAYS = """
class Handler:
    async def __call__(self, req):
        if req.text == "fail": raise ValueError("meant")
        if req.text == "parts": return self.parts()
        if req.text == "json": return {"of": [1, 2]}
        if req.text == "late":
            import asyncio
            await asyncio.sleep(60)
        return req.input
    async def parts(self):
        yield "a"
        yield "b"
"""


@pytest.fixture
def launch_with(tmp_path: Path, short_dir: Path):
    """Starts a replica whose function has more files than its handler."""
    started: list[WatcherProcess] = []

    def start(
        source: str,
        files: dict[str, str],
        *,
        environment=(),
        ready=True,
        python=Path(sys.executable),
        **given,
    ):
        root = tmp_path / f"function-{len(started)}"
        for name, text in {"src/handler.py": source, **files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        settings = WatcherSettings(
            root=str(root),
            listen=f"unix:{short_dir}/{len(started)}.sock",
            start_timeout=20.0,
            lifeline=True,
            **given,
        )
        log_file = tmp_path / f"log-{len(started)}"
        with log_file.open("wb") as log:
            launch = Launch(python, settings, dict(environment), {}, log.fileno())
            replica = WatcherProcess(launch, os.environ)
        started.append(replica)
        return Running(replica, replica.wait_ready() if ready else "", root, log_file)

    yield start
    for replica in started:
        replica.stop(0.2)


NAMES = sorted(
    name for name in (*sys.stdlib_module_names, "dcf", "uvicorn", "httptools", "uvloop", "click",
                      "h11", "websockets", "typing_extensions")
    if name.isidentifier() and name != "__main__"
)  # fmt: skip


@pytest.mark.parametrize("source", [ALL_WAYS, ASYNC_WAYS], ids=["plain", "async"])
@pytest.mark.parametrize("form", ["{}.py", "{}/__init__.py"], ids=["files", "folders"])
def test_no_file_of_the_authors_takes_the_place_of_a_module_that_the_watcher_needs(
    launch_with, tmp_path, source, form
):
    mark = tmp_path / "imported"
    text = f"open({str(mark)!r}, 'a').write(__name__ + ' '); raise ImportError('shadowed')"
    files = {f"{place}{form.format(name)}": text for name in NAMES for place in ("", "src/")}
    running = launch_with(source, files, timeout=1.0)
    assert running.call(b"x") == b"x"
    assert running.call(b"json") == b'{"of": [1, 2]}'
    assert running.call(b"parts") == b"ab"
    assert running.call(b"y" * 3_000_000) == b"y" * 3_000_000
    with pytest.raises(errors.HandlerRaised, match="meant"):
        running.call(b"fail")
    with pytest.raises(errors.DeadlineExceeded):
        running.call(b"late")
    with running.client().stream([b"a", b"b"]) as replies:
        assert b"".join(part if isinstance(part, bytes) else part.encode() for part in replies)
    assert running.replica.stop(10).code == WatcherExit.DRAINED
    assert not mark.exists(), mark.read_text()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("queue.py", "queue.py cannot be imported: 'import queue' gives Python's own module queue"),
        ("random.py", "random.py cannot be imported"),
        ("email.py", "email.py cannot be imported"),
        ("types.py", "types.py cannot be imported"),
        ("asyncio/__init__.py", "asyncio cannot be imported"),
        ("dcf/__init__.py", "dcf cannot be imported: 'import dcf' gives the package dcf"),
        ("wave.py", "wave.py takes the place of Python's own module wave"),
    ],
)
def test_a_file_with_the_name_of_another_module_is_told(launch_with, name, told):
    running = launch_with(ECHO, {f"src/{name}": "MINE = 1"})
    assert running.call(b"x") == b"x"
    assert told in running.log


def test_the_authors_own_modules_are_imported_as_ever(launch_with):
    files = {"src/helper.py": "import wave\nMINE = wave.MINE", "src/wave.py": "MINE = 'own'"}
    running = launch_with("import helper\ndef Handler(req): return helper.MINE", files)
    assert running.call() == b"own"


@pytest.mark.parametrize("file", ["random.py", "queue.py", "wave.py", "dcf.py"])
def test_a_handlers_file_may_have_any_name(launch_with, file):
    source = (
        "import random, pickle\nclass Handler:\n  def __call__(self, req): return random.__file__"
    )
    running = launch_with(ECHO, {f"src/{file}": source}, handler_file=file)
    assert running.call().endswith(b"/random.py")
    assert str(running.folder).encode() not in running.call()


LIMIT_SEEN = """
import os, resource, json
with open({mark!r}, "a") as file:
    file.write(json.dumps([{who!r}, resource.getrlimit(resource.RLIMIT_DATA)[0],
        sorted(os.sched_getaffinity(0))]) + "\\n")
"""
LIMIT = 512 * 1024**2


@pytest.mark.parametrize(
    ("environment", "file"),
    [
        ({"PYTHONPATH": "{root}/lib"}, "lib/sitecustomize.py"),
        ({"PYTHONPATH": "lib"}, "lib/sitecustomize.py"),
        ({"PYTHONPATH": "{root}/lib"}, "lib/usercustomize.py"),
        ({"PYTHONPATH": "{root}/lib"}, "lib/os.py"),
        ({"PYTHONPATH": "{root}/lib"}, "lib/encodings/__init__.py"),
        ({"PYTHONPATH": "{root}/lib"}, "lib/dcf/__init__.py"),
        ({"PYTHONPATH": "{root}/lib"}, "lib/json.py"),
        ({"PYTHONHOME": "{root}/lib"}, "lib/lib/python{version}/os.py"),
        ({"PYTHONPLATLIBDIR": "{root}/lib"}, "lib/python{version}/os.py"),
        ({"PYTHONSTARTUP": "{root}/lib/start.py"}, "lib/start.py"),
        ({}, "sitecustomize.py"),
        ({}, "src/sitecustomize.py"),
    ],
)
def test_code_that_python_finds_by_itself_runs_within_the_limits(
    launch_with, tmp_path, environment, file
):
    mark, version = tmp_path / "ran", f"{sys.version_info[0]}.{sys.version_info[1]}"
    root = tmp_path / "function-0"
    given = {name: value.format(root=root) for name, value in environment.items()}
    source = "import os\ndef Handler(req): return os.environ.get(req.text, '-')"
    text = LIMIT_SEEN.format(mark=str(mark), who=file)
    running = launch_with(
        source,
        {file.format(version=version): text},
        environment=given,
        memory_limit=LIMIT,
        cpus="0",
    )
    for line in mark.read_text().splitlines() if mark.exists() else ():
        assert f"{LIMIT}, [0]]" in line
    if file == "lib/sitecustomize.py":
        assert mark.exists()
    for name, value in given.items():
        assert running.call(name.encode()).decode() == value


def test_what_packages_bring_for_the_start_runs_within_the_limits(launch_with, tmp_path):
    """An environment of its own, with the packages of this one and a file for ``site``."""
    venv.create(tmp_path / "env", symlinks=True)
    python, mark = tmp_path / "env" / "bin" / "python", tmp_path / "ran"
    (packages,) = (tmp_path / "env").glob("lib/python3*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    seen = tmp_path / "seen.py"
    seen.write_text(LIMIT_SEEN.format(mark=str(mark), who="pth"))
    (packages / "first.pth").write_text(f"import runpy; runpy.run_path({str(seen)!r})\n")
    (packages / "sitecustomize.py").write_text(seen.read_text())
    source = "import sys\ndef Handler(req): return sys.prefix"
    running = launch_with(source, {}, python=python, memory_limit=LIMIT, cpus="0")
    assert running.call().decode() == str(tmp_path / "env")
    told = mark.read_text().splitlines()
    assert len(told) >= 2  # Python itself runs the file twice in an environment like this
    assert all(f"{LIMIT}, [0]]" in line for line in told)


def test_a_module_on_pythonpath_is_found(launch_with):
    running = launch_with(
        "import far\ndef Handler(req): return far.MINE",
        {"lib/far.py": "MINE = 'far'"},
        environment={"PYTHONPATH": "lib"},
    )
    assert running.call() == b"far"


def test_variables_that_only_change_python_hold_from_its_start(launch_with):
    running = launch_with(
        "import sys\ndef Handler(req): return f'{sys.flags.optimize} {sys.flags.hash_randomization}'",
        {},
        environment={"PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "0"},
    )
    assert running.call() == b"2 0"


def test_a_sitecustomize_that_leaves_is_told(launch_with):
    running = launch_with(
        ECHO,
        {"lib/sitecustomize.py": "import sys; sys.exit(5)"},
        environment={"PYTHONPATH": "lib"},
        ready=False,
    )
    with pytest.raises(errors.HandlerImportFailed, match=r"sys\.exit\(5\)"):
        running.replica.wait_ready()
    assert running.replica.wait(5).code == WatcherExit.HANDLER


def test_site_is_as_in_any_other_interpreter(launch_with):
    source = """
        import sys
        def Handler(req): return f"{sys.prefix} {sys.flags.no_site} {exit!r:.8} {sys.argv[1:]}"
        """
    running = launch_with(textwrap.dedent(source), {})
    assert running.call().decode() == f"{sys.prefix} 0 Use exit []"


PRELOAD = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
__attribute__((constructor)) static void begin(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_DATA, &limit);
    FILE *file = fopen(getenv("MARK"), "a");
    fprintf(file, "%llu\\n", (unsigned long long) limit.rlim_cur);
    fclose(file);
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler is here")
def test_a_library_that_is_loaded_first_runs_within_the_limits(launch_with, tmp_path):
    (tmp_path / "first.c").write_text(PRELOAD)
    library, mark = tmp_path / "first.so", tmp_path / "ran"
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "first.c")]
    subprocess.run(command, check=True, timeout=60)
    environment = {"LD_PRELOAD": str(library), "MARK": str(mark), "PYTHONPATH": "lib"}
    running = launch_with(
        "import far, os\ndef Handler(req): return os.environ['LD_PRELOAD']",
        {"lib/far.py": ""},
        environment=environment,
        memory_limit=LIMIT,
    )
    assert running.call().decode() == str(library)
    assert set(mark.read_text().split()) == {str(LIMIT)}
