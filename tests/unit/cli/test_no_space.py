"""A full disk is named: standard output, or whatever else was written."""

import errno
import io
import sys

import pytest

from dcf.builder.blobs import Blobs
from dcf.cli import main
from dcf.cli.exit_codes import ExitCode
from dcf.errors import DiskFull


def failing(error: OSError):
    def run(*_: object, **__: object) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space is left on the disk\n"),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded", "/d/x"),
            "no space is left on the disk: /d/x",
        ),
    ],
)
def test_a_full_store_is_not_taken_for_standard_output(monkeypatch, capsys, error, said):
    monkeypatch.setattr("dcf.cli.main.root.main", failing(error))
    assert main.run([]) == ExitCode.STORAGE
    told = capsys.readouterr().err
    assert said in told
    assert "standard output" not in told


def test_standard_output_that_cannot_be_written_is_named(monkeypatch, capsys, tmp_path):
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def fileno(self):
            return spare

    with (tmp_path / "x").open("w") as file:
        spare = file.fileno()
        monkeypatch.setattr(sys, "stdout", Full())
        monkeypatch.setattr("dcf.cli.main.root.main", lambda *_, **__: 0)
        assert main.run([]) == ExitCode.STORAGE
    assert "standard output cannot be written: No space" in capsys.readouterr().err


def test_a_blob_that_finds_no_space_says_so_also_when_its_file_is_closed(tmp_path, monkeypatch):
    scratch = tmp_path / "tmp"
    scratch.mkdir()

    class Full(io.BytesIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            self.flush()

    monkeypatch.setattr("dcf.builder.blobs.os.fdopen", lambda *_: Full())
    with pytest.raises(DiskFull, match="no space left on device"):
        Blobs(tmp_path / "blobs", scratch).add([b"x"])
    assert list(scratch.iterdir()) == []
