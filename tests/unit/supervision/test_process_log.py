"""Splitting lines, writing logs to disk, and reading them."""

import logging
import random

import pytest

from dcf.supervision.line_splitter import LineSplitter
from dcf.supervision.log_reader import LogReader
from dcf.supervision.process_log import LINE_LIMIT, ProcessLog, stamp
from dcf.supervision.process_messages import LogBound


def test_lines_are_the_same_however_the_bytes_are_split():
    text = b"one\ntwo\n\nthree\r\nrest"
    for size in range(1, len(text) + 1):
        splitter = LineSplitter(100)
        lines = []
        for begin in range(0, len(text), size):
            lines += splitter.feed(text[begin : begin + size])
        assert [*lines, splitter.rest(), splitter.rest()] == [
            b"one",
            b"two",
            b"",
            b"three\r",
            b"rest",
            b"",
        ]


def test_a_line_over_the_limit_comes_in_pieces():
    lines = LineSplitter(4)
    assert lines.feed(b"abcd\nabcde\n") == [b"abcd", b"abcd", b"e"]
    assert lines.feed(b"123456789") == [b"1234", b"5678"]
    assert lines.feed(b"0") == []
    assert lines.rest() == b"90"


def _texts(folder, **given) -> list[str]:
    with LogReader(folder) as backlog:
        return [line.text for lines in backlog.read(**given) for line in lines]


def test_written_lines_are_read_back(tmp_path, monkeypatch):
    log = ProcessLog(tmp_path / "a", LogBound())
    for second in range(5):
        monkeypatch.setattr("dcf.supervision.process_log.time.time", lambda at=second: 1000.0 + at)
        log.feed(f"line {second}\n".encode())
    log.feed(b"\xff no end")
    log.end_of_run()
    log.close()
    everything = [*(f"line {second}" for second in range(5)), "\N{REPLACEMENT CHARACTER} no end"]
    assert _texts(tmp_path / "a") == everything
    assert _texts(tmp_path / "a", since=1003) == everything[3:]
    assert _texts(tmp_path / "a", tail=2) == everything[-2:]
    assert _texts(tmp_path / "a", tail=99) == everything
    assert _texts(tmp_path / "a", since=1004, tail=99) == everything[4:]
    with LogReader(tmp_path / "a") as backlog:
        (lines,) = backlog.read()
    assert [line.at for line in lines] == [1000, 1001, 1002, 1003, 1004, 1004]


@pytest.mark.parametrize("files", [1, 2, 4])
def test_rotation_keeps_the_newest_lines_within_the_limit(tmp_path, files):
    log = ProcessLog(tmp_path / "a", LogBound(file_bytes=1000, files=files))
    chance = random.Random(files)
    written: list[str] = []
    for number in range(500):
        count = chance.randrange(1, 30)
        written += (lines := [f"{number} {part}" for part in range(count)])
        log.feed("".join(line + "\n" for line in lines).encode())
    log.close()
    kept = _texts(tmp_path / "a")
    assert kept == written[-len(kept) :]
    assert len(list((tmp_path / "a").iterdir())) == files
    assert all(file.stat().st_size <= 1000 for file in (tmp_path / "a").iterdir())
    for tail in (0, 1, len(kept) - 1, len(kept), len(kept) + 1):
        assert _texts(tmp_path / "a", tail=tail) == written[-min(tail, len(kept)) :][:tail]


def test_a_log_continues_after_a_restart_and_rotation_does_not_disturb_a_reader(tmp_path):
    bound = LogBound(file_bytes=200, files=2)
    first = ProcessLog(tmp_path / "a", bound)
    first.feed(b"before\n")
    first.close()
    log = ProcessLog(tmp_path / "a", bound)
    log.feed(b"after\n")
    with LogReader(tmp_path / "a") as backlog:
        log.feed(b"x\n" * 100)
        lines = [line.text for block in backlog.read() for line in block]
    log.close()
    assert lines == ["before", "after"]


def test_a_line_without_an_end_is_split(tmp_path):
    log = ProcessLog(tmp_path / "a", LogBound())
    log.feed(b"x" * (3 * LINE_LIMIT + 5))
    log.end_of_run()
    log.close()
    assert [len(text) for text in _texts(tmp_path / "a")] == [LINE_LIMIT] * 3 + [5]


def test_a_full_disk_stops_no_process(tmp_path, monkeypatch, caplog):
    log = ProcessLog(tmp_path / "a", LogBound(file_bytes=50))

    def full():
        raise OSError(28, "No space left on device")

    log.feed(b"one\n")
    monkeypatch.setattr(log, "_open", full)
    with caplog.at_level(logging.WARNING, "dcf.supervision"):
        for _ in range(9):
            log.feed(b"lost, and too long for the file as it is\n")
    assert len(caplog.records) == 1
    monkeypatch.undo()
    log.feed(b"two\n")
    log.close()
    assert _texts(tmp_path / "a") == ["one", "two"]


def test_stamps_sort_in_the_order_of_time():
    times = [0.0, 0.0015, 1.0, 1.7e9, 1.7e9 + 0.25, 4e9, 1e300]
    assert [stamp(at) for at in times] == sorted(stamp(at) for at in times)
    assert stamp(1.5) == b"1970-01-01T00:00:01.500Z"
