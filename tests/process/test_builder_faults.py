"""Builds that are killed, interrupted or concurrent, or that find a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcf.builder.store import Store
from process.mounts import mounted, needs_mounts
from unit.builder.kit import (
    make_folder,
    make_runtime_wheels,
    make_slow_package,
    names,
    private_environment,
    wait_until,
)

SCRIPT = """
import json, os, sys
from pathlib import Path
from unit.builder.kit import Heard, make_builder
from dcf.errors import DcfError
from dcf.model.function import FunctionSpec

def tell(**what):
    print(json.dumps(what), flush=True)

class Telling(Heard):
    def started(self, step, detail):
        tell(step=step)
    def notice(self, text):
        tell(notice=text)

try:
    folder, store = map(Path, sys.argv[1:])
    built = make_builder(store, os.environ, Telling()).build(folder, FunctionSpec("f"))
    tell(built=built.environment.key)
except DcfError as error:
    tell(error=type(error).__name__, message=str(error))
"""


class Bench:
    """A function with a package whose build waits until the test lets it finish."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = Store(place / "store")
        self.folder = make_folder(place / "f", "./slow\n")
        make_slow_package(self.folder / "slow", place)
        self.env = private_environment(place, make_runtime_wheels(place / "wheels"))
        self.env["PYTHONPATH"] = str(Path(__file__).parents[1])

    def start(self, *before: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*before, sys.executable, "-c", SCRIPT, str(self.folder), str(self.store.root)],
            env=self.env,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def build(self, *before: str) -> list[dict[str, str]]:
        return events_of(self.start(*before))

    def go(self) -> None:
        (self.place / "go").touch()

    def is_building(self) -> bool:
        return (self.place / "building").exists()

    @property
    def backend(self) -> int:
        """Id of the process that builds the package."""
        return int((self.place / "building").read_text())

    def check(self, key: str) -> None:
        """Check that the environment works and that nothing else is left."""
        python = self.store.environments / key / "bin" / "python"
        subprocess.run([python, "-c", "import slow, uvicorn, dcf.errors"], check=True)
        assert names(self.store.environments) == [key, f"{key}.json"]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def events_of(process: subprocess.Popen[str]) -> list[dict[str, str]]:
    """Return the events from now on until the process ends."""
    assert process.stdout is not None
    with process.stdout:
        events = [json.loads(line) for line in process.stdout]
    process.wait(60)
    return events


def wait_for_notice(process: subprocess.Popen[str]) -> None:
    """Wait until a build reports that it waits for another one."""
    assert process.stdout is not None
    notice = {"notice": "Waiting for another build of the same environment"}
    assert notice in map(json.loads, process.stdout)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_after_a_kill_of_all_processes_the_next_build_starts_over(bench: Bench) -> None:
    process = bench.start()
    wait_until(bench.is_building)
    os.killpg(process.pid, signal.SIGKILL)
    events_of(process)
    (key,) = names(bench.store.environments)
    assert bench.store.marker(key) is None
    bench.go()
    assert bench.build()[-1] == {"built": key}
    bench.check(key)


def test_after_a_kill_of_the_build_alone_uv_ends_and_the_next_build_starts_over(
    bench: Bench,
) -> None:
    process = bench.start()
    wait_until(bench.is_building)
    process.kill()
    events_of(process)
    (key,) = names(bench.store.environments)
    assert bench.store.marker(key) is None
    wait_until(lambda: not is_alive(bench.backend))
    bench.go()
    assert bench.build()[-1] == {"built": key}
    bench.check(key)


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.2, 0.3, 0.4])
def test_a_kill_at_any_time_leaves_no_environment_that_counts_as_complete(
    bench: Bench, moment: float
) -> None:
    bench.go()
    process = bench.start()
    wait_until(lambda: any(bench.store.blobs.all()) or process.poll() is not None)
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    events_of(process)
    last = bench.build()[-1]
    bench.check(last["built"])
    for blob in bench.store.blobs.all():
        digest = f"sha256:{blob.name}"
        blob.touch()  # so that it is hashed again
        assert bench.store.blobs.has(digest, blob.stat().st_size)


def test_the_second_of_two_builds_waits_for_the_first(bench: Bench) -> None:
    earlier = bench.start()
    wait_until(bench.is_building)
    later = bench.start()
    wait_for_notice(later)
    bench.go()
    first, second = events_of(earlier), events_of(later)
    assert {"step": "environment"} in first
    assert {"step": "environment"} not in second
    assert first[-1] == second[-1]
    bench.check(first[-1]["built"])


def test_an_interrupt_ends_uv_and_leaves_nothing(bench: Bench) -> None:
    process = bench.start()
    wait_until(bench.is_building)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.wait(20)
    assert process.returncode not in {0, None}
    events_of(process)
    assert names(bench.store.environments) == []
    assert names(bench.store.scratch) == []


@needs_mounts
def test_the_lock_of_a_read_only_folder_is_kept_in_the_store(bench: Bench) -> None:
    bench.go()
    read_only = mounted(
        f"mount --bind {bench.folder} {bench.folder} && mount -o remount,bind,ro {bench.folder}"
    )
    events = bench.build(*read_only)
    notice = f"{bench.folder} is not writable; requirements.lock is kept only in the store"
    assert {"notice": notice} in events
    key = events[-1]["built"]
    bench.check(key)
    assert not (bench.folder / "requirements.lock").exists()
    assert len(names(bench.store.locks)) == 1
    again = bench.build(*read_only)
    assert [event for event in again if event.get("step") != "bundle"] == [{"built": key}]


@needs_mounts
@pytest.mark.parametrize("size", ["36k", "40k", "64k", "120k", "200k", "400k"])
def test_a_full_disk_is_reported_and_leaves_nothing(bench: Bench, size: str) -> None:
    bench.go()
    (bench.folder / "model").write_bytes(os.urandom(60_000))
    (bench.folder / "note").write_bytes(os.urandom(3_000))
    listing = bench.place / "listing"
    root = bench.store.root
    # After the build, list what is left on the small disk; then build again with more space.
    small = f"mount -t tmpfs -o size={size} none {root}"
    after = f'"$@"; find {root} -type f > {listing}; mount -o remount,size=99m {root}; exec "$@"'
    events = bench.build("unshare", "-Urm", "sh", "-c", f"{small} && {after}", "sh")
    (failed,) = (event for event in events if "error" in event)
    assert failed["error"] == "DiskFull"
    assert str(bench.place) in failed["message"]
    assert "no space left on device" in failed["message"]
    left = [Path(line).relative_to(root) for line in listing.read_text().splitlines()]
    assert {path.parts[0] for path in left} <= {"blobs", "bundles", "folders", "guards", "locks"}
    assert list(events[-1]) == ["built"]


@needs_mounts
def test_a_full_cache_is_reported(bench: Bench) -> None:
    bench.go()
    place = bench.place / "small"
    place.mkdir()
    bench.env["UV_CACHE_DIR"] = str(place)
    small = f"mount -t tmpfs -o size=8k none {place} && head -c 8k /dev/zero > {place}/all"
    script = f'{small}; "$@"; umount {place}; exec "$@"'
    events = bench.build("unshare", "-Urm", "sh", "-c", script, "sh")
    (failed,) = (event for event in events if "error" in event)
    assert failed["error"] == "DiskFull"
    assert str(place) in failed["message"]
    assert "no space left on device" in failed["message"]
    bench.check(events[-1]["built"])
