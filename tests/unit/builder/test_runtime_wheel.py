from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from dcf.builder.runtime_wheel import RuntimeWheel, runtime_requirement
from dcf.version import __version__


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("httptools>=0.6; extra == 'runtime'", "httptools>=0.6"),
        (
            "uvloop>=0.19; (implementation_name == 'cpython') and extra == 'runtime'",
            "uvloop>=0.19; implementation_name == 'cpython'",
        ),
        (
            'uvloop>=0.19; implementation_name == "cpython" and extra == "runtime"',
            "uvloop>=0.19; implementation_name == 'cpython'",
        ),
        ("click>=8.1", None),
        ("pytest>=8; extra == 'test'", None),
    ],
)
def test_the_extra_is_removed_from_the_marker(line: str, expected: str | None) -> None:
    assert runtime_requirement(line) == expected


def test_the_installed_runtime_is_the_guest_rooms() -> None:
    runtime = RuntimeWheel.installed()
    paths = [path for path, _ in runtime.files]
    assert "dcf/__init__.py" in paths
    assert "dcf/model/artifact.py" in paths
    assert "dcf/py.typed" in paths
    assert not [
        path for path in paths if path.startswith(("dcf/builder/", "dcf/cli/", "dcf/engines/"))
    ]
    assert not [path for path in paths if "__pycache__" in path]
    assert {re.split("[<>]", line)[0] for line in runtime.requirements} == {
        "httptools",
        "uvicorn",
        "uvloop",
        "websockets",
    }
    assert runtime.minimum == (3, 11)


def test_the_wheel_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    wheels = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        wheels.append(RuntimeWheel.installed().write_wheel(tmp_path / name))
    assert wheels[0].name == f"dcf_runtime-{__version__}-py3-none-any.whl"
    assert wheels[0].read_bytes() == wheels[1].read_bytes()


def test_the_wheel_has_valid_metadata(tmp_path: Path) -> None:
    runtime = RuntimeWheel((("dcf/x.py", b"x = 1\n"),), ("six>=1; python_version > '3'",), ">=3.11")
    with zipfile.ZipFile(runtime.write_wheel(tmp_path)) as archive:
        about = f"dcf_runtime-{__version__}.dist-info"
        assert archive.read("dcf/x.py") == b"x = 1\n"
        metadata = archive.read(f"{about}/METADATA").decode()
        assert "Requires-Dist: six>=1; python_version > '3'\n" in metadata
        assert "Requires-Python: >=3.11\n" in metadata
        record = archive.read(f"{about}/RECORD").decode().splitlines()
        assert [line.split(",")[0] for line in record] == archive.namelist()


def test_the_digest_depends_on_the_content() -> None:
    runtime = RuntimeWheel((("dcf/x.py", b"x = 1\n"),), ("six",), ">=3.11")
    others = [
        replace(runtime, files=(("dcf/x.py", b"x = 2\n"),)),
        replace(runtime, requirements=("idna",)),
        replace(runtime, requires_python=">=3.12"),
    ]
    assert len({runtime.digest, *(other.digest for other in others)}) == 4
