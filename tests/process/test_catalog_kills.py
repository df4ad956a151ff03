"""A catalog with killed or concurrent writers, or on a full disk, loses no acknowledged change."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from dcf.catalog.catalog import KEPT_REVISIONS, Catalog
from dcf.model.artifact import Artifact

DEPLOYER = """
import sys
from itertools import count
from pathlib import Path
from dcf.catalog.catalog import Catalog
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec

path, own = Path(sys.argv[1]), sys.argv[2]
with Catalog(path) as catalog:
    for number in count():
        name = f"f{number % 5}"
        spec = FunctionSpec(name, environment={"FROM": own})
        revision = catalog.deploy(spec, Artifact(f"{own}-{number}", "lock"))
        print(revision.function, revision.number, revision.artifact.bundle, flush=True)
        if number % 7 == 3:
            catalog.scale(name, number % 3)
        if number % 11 == 5:
            catalog.count_invocations({name: 1})
"""

OPENER_IN_STEP = """
import sys
from pathlib import Path
from dcf.catalog.catalog import Catalog
print("ready", flush=True)
sys.stdin.readline()
Catalog(Path(sys.argv[1])).close()
print("opened", flush=True)
"""

OPENER = """
import sys
from pathlib import Path
from dcf.catalog.catalog import Catalog
print("ready", flush=True)
Catalog(Path(sys.argv[1])).close()
"""

Acknowledged = dict[tuple[str, int], str]


def start(script: str, *args: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", script, *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)


def kill(process: subprocess.Popen[bytes]) -> bytes:
    """Kill its process group; return the complete lines that it had printed."""
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    return said[: said.rfind(b"\n") + 1]


def note(acknowledged: Acknowledged, said: bytes) -> None:
    for line in said.decode().splitlines():
        name, number, bundle = line.split()
        assert (name, int(number)) not in acknowledged, "a number was used twice"
        acknowledged[name, int(number)] = bundle


def check(path: Path, acknowledged: Acknowledged) -> None:
    with Catalog(path) as catalog:
        for record in catalog.functions():
            revisions = {one.number: one for one in catalog.revisions(record.name)}
            newest = max(revisions)
            oldest = max(1, newest - KEPT_REVISIONS + 1)
            assert list(revisions) == list(range(newest, oldest - 1, -1)), "numbers have no gaps"
            assert record.current == revisions[newest]
            for (name, number), bundle in acknowledged.items():
                if name == record.name:
                    assert number <= newest
                    if number >= oldest:
                        assert revisions[number].artifact.bundle == bundle
        assert {name for name, _ in acknowledged} <= {one.name for one in catalog.functions()}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_an_acknowledged_deploy_survives_a_kill_at_any_instant(tmp_path):
    path, acknowledged = tmp_path / "catalog.db", Acknowledged()
    dice = random.Random(7)
    for turn in range(24):
        process = start(DEPLOYER, path, turn)
        assert process.stdout is not None
        note(acknowledged, process.stdout.readline())
        time.sleep(dice.uniform(0, 0.12))
        note(acknowledged, kill(process))
        check(path, acknowledged)
    assert len(acknowledged) > 100


def test_a_kill_while_the_file_is_created_leaves_a_usable_file(tmp_path):
    dice = random.Random(11)
    for turn in range(12):
        path = tmp_path / f"{turn}.db"
        process = start(OPENER, path)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(dice.uniform(0, 0.012))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        check(path, {})


def test_processes_that_create_the_file_at_the_same_time_all_open_it(tmp_path):
    for turn in range(10):
        path = tmp_path / f"{turn}.db"
        processes = [start(OPENER_IN_STEP, path) for _ in range(4)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        assert [process.communicate()[0] for process in processes] == [b"opened\n"] * 4
        check(path, {})


def test_concurrent_deploys_of_two_processes_are_serialized(tmp_path):
    path, acknowledged = tmp_path / "catalog.db", Acknowledged()
    processes = [start(DEPLOYER, path, own) for own in "ab"]
    for process in processes:
        assert process.stdout is not None
        note(acknowledged, process.stdout.readline())
    time.sleep(0.5)
    for process in processes:
        note(acknowledged, kill(process))
    check(path, acknowledged)
    assert {bundle[0] for bundle in acknowledged.values()} == {"a", "b"}


# Full disk

FILLER = """
import os, sys
from pathlib import Path
from dcf.catalog.catalog import Catalog
from dcf.errors import DiskFull
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec

root = Path(sys.argv[1])
ballast = root / "ballast"
with Catalog(root / "catalog.db") as catalog:
    done = 0
    catalog.deploy(FunctionSpec("f"), Artifact("0", "lock"))
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size - int(sys.argv[2])))
    try:
        for done in range(1, 1000):
            catalog.deploy(FunctionSpec("f", environment={"A": "x" * 2000}), Artifact(str(done), "lock"))
    except DiskFull as error:
        print("full:", error, flush=True)
    assert catalog.function("f").current.artifact == Artifact(str(done - 1), "lock")
    ballast.unlink()
    assert catalog.deploy(FunctionSpec("f"), Artifact("after", "lock")).number == done + 1
with Catalog(root / "catalog.db") as catalog:
    assert len(catalog.revisions("f")) == done + 1
    print("kept", done, flush=True)
"""

CREATOR = """
import sys
from pathlib import Path
from dcf.catalog.catalog import Catalog
from dcf.errors import DiskFull

root = Path(sys.argv[1])
with (root / "ballast").open("wb", buffering=0) as file:
    try:
        while file.write(b"x" * 4096):
            pass
    except OSError:
        pass
try:
    Catalog(root / "catalog.db")
except DiskFull:
    print("full")
(root / "ballast").unlink()
Catalog(root / "catalog.db").close()
print("made")
"""


def mounts_work() -> bool:
    command = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /mnt"]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def on_a_small_disk(root: Path, script: str, *args: object) -> str:
    mount = f'mount -t tmpfs -o size=1m none {root} && exec "$@"'
    command = ["unshare", "-Urm", "sh", "-c", mount, "sh"]
    command += [sys.executable, "-c", script, str(root), *map(str, args)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_mounts = pytest.mark.skipif(
    not mounts_work(), reason="mounting needs user namespaces, which this machine does not allow"
)


@needs_mounts
@pytest.mark.parametrize("room", [0, 4096, 40960, 200_000])
def test_a_full_disk_is_reported_and_loses_nothing(tmp_path, room):
    said = on_a_small_disk(tmp_path, FILLER, room)
    assert "full: " in said
    assert ": no space left on device" in said
    assert "kept" in said


@needs_mounts
def test_a_catalog_that_could_not_be_created_on_a_full_disk_is_created_later(tmp_path):
    assert on_a_small_disk(tmp_path, CREATOR) == "full\nmade\n"


def test_a_reader_does_not_disturb_the_catalog(tmp_path):
    """A command that reads the catalog neither waits for the gateway nor delays it."""
    path, acknowledged = tmp_path / "catalog.db", Acknowledged()
    process = start(DEPLOYER, path, "a")
    assert process.stdout is not None
    note(acknowledged, process.stdout.readline())
    for _ in range(20):
        with Catalog(path) as catalog:
            assert Artifact("a-0", "lock") in catalog.artifacts(newest=10_000)
    note(acknowledged, kill(process))
    check(path, acknowledged)
