"""Uploads whose receiver is killed, runs twice, or finds a full disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dcf.builder.store import Store
from dcf.builder.uploads import Uploads, part_path
from dcf.errors import UploadInvalid
from dcf.model.artifact import BundleFile, digest_of
from process.mounts import mounted, needs_mounts

SCRIPT = """
import json, sys
from pathlib import Path
from dcf.builder.store import Store
from dcf.builder.uploads import Uploads
from dcf.errors import DcfError

root, digest, offset, source = sys.argv[1:]
uploads = Uploads(Store(Path(root)), most_bytes=1 << 30, most_files=100)

def tell(**what):
    print(json.dumps(what), flush=True)

part = None
try:
    with uploads.receiving(digest, int(offset)) as part, open(source, "rb") as content:
        content.seek(part.offset)
        while chunk := content.read(10_000):
            part.write(chunk)
            tell(offset=part.offset)
            if source.endswith("paced"):
                sys.stdin.readline()
        tell(complete=part.finish())
except DcfError as error:
    tell(error=type(error).__name__, message=str(error), offset=part and part.offset)
"""

CONTENT = os.urandom(200_000)
DIGEST = digest_of(CONTENT)


class Bench:
    """A store that expects a blob."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = Store(place / "store")
        self.announce()

    def announce(self) -> int:
        """Announce the blob; return how many of its bytes have arrived."""
        uploads = Uploads(self.store, most_bytes=1 << 30, most_files=100)
        missing = uploads.announce([BundleFile("model", DIGEST, len(CONTENT))], "# lock\n").missing
        return missing[0].offset if missing else len(CONTENT)

    def start(self, *before: str, offset: int = 0, paced: bool = False) -> subprocess.Popen[str]:
        source = self.place / ("paced" if paced else "content")
        source.write_bytes(CONTENT)
        arguments = [str(self.store.root), DIGEST, str(offset), str(source)]
        return subprocess.Popen(
            [*before, sys.executable, "-c", SCRIPT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def events_of(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    output, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in output.splitlines()]


def next_of(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    event: dict[str, object] = json.loads(process.stdout.readline())
    return event


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_after_a_kill_an_upload_resumes_where_it_ended(bench: Bench) -> None:
    process = bench.start(paced=True)
    assert next_of(process) == {"offset": 10_000}
    process.kill()
    events_of(process)
    assert bench.announce() == 10_000
    assert events_of(bench.start(offset=10_000))[-1] == {"complete": True}
    assert bench.store.blobs.path(DIGEST).read_bytes() == CONTENT
    assert not part_path(bench.store, DIGEST).exists()


def test_after_a_kill_behind_the_last_byte_nothing_is_sent_twice(bench: Bench) -> None:
    part_path(bench.store, DIGEST).write_bytes(CONTENT)
    assert bench.announce() == len(CONTENT)
    assert events_of(bench.start(offset=len(CONTENT))) == [{"complete": True}]
    assert bench.store.blobs.has(DIGEST, len(CONTENT))


def test_the_second_process_that_receives_a_blob_is_rejected(bench: Bench) -> None:
    first = bench.start(paced=True)
    next_of(first)
    (refused,) = events_of(bench.start(offset=10_000))
    assert refused["error"] == "UploadInvalid"
    assert "another client is sending" in str(refused["message"])
    uploads = Uploads(bench.store, most_bytes=1 << 30, most_files=100)
    with pytest.raises(UploadInvalid), uploads.receiving(DIGEST, 10_000):
        pass
    first.kill()
    events_of(first)
    assert events_of(bench.start(offset=10_000))[-1] == {"complete": True}


@needs_mounts
def test_a_full_disk_is_reported_and_the_written_bytes_are_kept(bench: Bench) -> None:
    small = bench.place / "small"
    kept = bench.place / "kept"
    root = bench.store.root
    shutil.copytree(root, small)
    script = f"mount -t tmpfs -o size=96k none {root} && cp -r {small}/. {root}"
    after = ("sh", "-c", f'"$@"; cp {root}/uploads/*.part {kept}', "sh")
    *_, last = events_of(bench.start(*mounted(script), *after))
    assert last["error"] == "DiskFull"
    assert str(root) in str(last["message"])
    arrived = kept.read_bytes()
    assert 0 < len(arrived) == last["offset"]
    assert CONTENT.startswith(arrived)
