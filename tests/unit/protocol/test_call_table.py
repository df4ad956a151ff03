"""What a replica notes about its calls can be read when it is dead."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcf.protocol import call_table
from dcf.protocol.call_table import ENDED, KEPT, CallTable, EarlierAttempt, find


def entered(table: CallTable, request_id: bytes, arrived: float = 1.0, ends: float = 9.0) -> int:
    entry = table.enter(request_id, arrived, ends)
    assert entry is not None
    return entry


def test_a_call_is_found_with_its_times_until_its_entry_is_used_again(tmp_path):
    table = CallTable.create(tmp_path / "f" / "1", entries=2)
    assert find(tmp_path / "f", b"a") is None
    entry = entered(table, b"a", 1.5, 2.5)
    assert find(tmp_path / "f", b"a") == EarlierAttempt(begun=False, arrived=1.5, ends=2.5)
    table.begin(entry)
    table.release(entry)
    assert find(tmp_path / "f", b"a") == EarlierAttempt(begun=True, arrived=1.5, ends=2.5)
    entered(table, b"b")
    assert find(tmp_path / "f", b"a") is not None
    entered(table, b"c")
    assert find(tmp_path / "f", b"a") is None


def test_a_full_table_has_no_entry(tmp_path):
    table = CallTable.create(tmp_path / "1", entries=1)
    entered(table, b"a")
    assert table.enter(b"b", 0.0, 0.0) is None


def test_an_id_is_not_found_by_a_part_of_it(tmp_path):
    table = CallTable.create(tmp_path / "1", entries=4)
    for request_id in (b"call-1", b"x" * 128, b"1"):
        entered(table, request_id)
    assert find(tmp_path, b"call") is None
    assert find(tmp_path, b"x" * 127) is None
    assert find(tmp_path, b"x" * 128) is not None
    assert find(tmp_path, b"1") is not None


def test_of_several_attempts_the_one_that_began_counts_and_the_earliest_times(tmp_path):
    first = CallTable.create(tmp_path / "1", entries=4)
    second = CallTable.create(tmp_path / "2", entries=4)
    entered(first, b"a", 5.0, 50.0)
    entry = entered(second, b"a", 7.0, 40.0)
    assert find(tmp_path, b"a") == EarlierAttempt(begun=False, arrived=5.0, ends=40.0)
    second.begin(entry)
    assert find(tmp_path, b"a") == EarlierAttempt(begun=True, arrived=5.0, ends=40.0)


def test_what_a_killed_process_noted_is_there(tmp_path):
    program = """
import os, sys
from pathlib import Path
from dcf.protocol.call_table import CallTable
table = CallTable.create(Path(sys.argv[1]), entries=4)
table.begin(table.enter(b"begun", 1.0, 2.0))
table.enter(b"waits", 1.0, 2.0)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "1")], check=False)
    assert done.returncode == -9
    begun, waits = find(tmp_path, b"begun"), find(tmp_path, b"waits")
    assert begun is not None
    assert begun.begun
    assert waits is not None
    assert not waits.begun


def test_tables_of_the_dead_are_removed_when_nobody_can_need_them(tmp_path, monkeypatch):
    alive = CallTable.create(tmp_path / "alive", entries=1)
    entered(alive, b"a")
    (tmp_path / "dead").write_bytes(b"")
    call_table.clean(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"alive", "dead" + ENDED}
    long_ago = time.time() - KEPT - 1
    os.utime(tmp_path / ("dead" + ENDED), (long_ago, long_ago))
    CallTable.create(tmp_path / "next", entries=1)
    assert {path.name for path in tmp_path.iterdir()} == {"alive", "next"}
    assert find(tmp_path, b"a") is not None


def test_a_folder_without_tables_goes(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    call_table.clean(folder)
    assert not folder.exists()
    assert find(folder, b"a") is None


@pytest.mark.parametrize("content", [b"", b"x", bytes(160), b"\x01a" + bytes(500), os.urandom(999)])
def test_a_damaged_table_holds_no_call(tmp_path: Path, content: bytes):
    (tmp_path / "1").write_bytes(content)
    assert find(tmp_path, b"a") in (None, EarlierAttempt(begun=False, arrived=0.0, ends=0.0))


def test_a_table_that_does_not_fit_on_the_disk_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match=r"File too large|No space left"):
        CallTable.create(tmp_path / "1", entries=2**50)
    assert list(tmp_path.iterdir()) == []
