"""Runs commands in this process, each against a scripted gateway."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dcf.cli.main import run
from unit.cli.scripted import Scripted, scripted


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory of a user whose other files are hidden."""
    for variable in [name for name in os.environ if name.startswith("DCF_")]:
        monkeypatch.delenv(variable)
    for variable in ("DATA", "RUNTIME", "STATE", "SECRETS"):
        monkeypatch.setenv(f"DCF_{variable}_DIR", str(tmp_path / variable.lower()))
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def gateway(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """Run the gateway that the user's environment names."""
    with scripted() as gateway:
        monkeypatch.setenv("DCF_GATEWAY", gateway.url)
        yield gateway


@pytest.fixture
def dcf(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Done]:
    """Run a command with ``dcf("function", "list", input=b"...")`` until it exits."""

    def command(*arguments: Any, input: bytes | None = b"") -> Done:  # noqa: A002  as in other fixtures
        read, write = os.pipe()
        os.write(write, input or b"")
        os.close(write)
        with io.TextIOWrapper(os.fdopen(read, "rb")) as pipe:
            monkeypatch.setattr("sys.stdin", pipe)
            code = run([*map(str, arguments)])
        captured = capfdbinary.readouterr()
        return Done(code, captured.out, captured.err.decode())

    return command
