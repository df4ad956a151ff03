"""Every process answers a setting that is not allowed with one line that names it, not with a
traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcf.protocol.exits import WatcherExit

BAD = {
    "number": ("", "nan", "9" * 400, "\udcff"),
    "boolean": ("", "maybe"),
    "level": ("", "loud"),
}
ECHO = """
def Handler(req):
    return req.input
"""
PROCESSES = {
    "watcher": ("DCF_", {"number": "QUEUE", "boolean": "LIFELINE", "level": "LOG_LEVEL"}),
    "controlplane": ("DCF_CONTROL_", {"number": "BUILDS", "boolean": "TLS", "level": "LOG_LEVEL"}),
    "bridge": ("DCF_BRIDGE_", {"number": "IDLE", "level": "LOG_LEVEL"}),
}


def run(folder: Path, *command: str, **given: str) -> subprocess.CompletedProcess[str]:
    own = {f"DCF_{name}_DIR": str(folder) for name in ("DATA", "RUNTIME", "SECRETS", "STATE")}
    env = {name: value for name, value in os.environ.items() if not name.startswith("DCF_")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**env, **own, **given},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("process", "variable", "value"),
    [
        (process, prefix + name, value)
        for process, (prefix, names) in PROCESSES.items()
        for kind, name in names.items()
        for value in BAD[kind]
    ],
)
def test_a_process_names_the_setting(
    tmp_path: Path, process: str, variable: str, value: str
) -> None:
    ended = run(tmp_path, f"dcf.{process}", **{variable: value})

    assert ended.returncode == (WatcherExit.SETTINGS if process == "watcher" else 1)
    (line,) = ended.stderr.splitlines()
    assert f"{variable}: expected " in line
    assert "; change it, or unset it for the default (" in line
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DCF_STORE_LIMIT", "20G"), ("DCF_BUILD_TIMEOUT", "nan"), ("DCF_STORE_LIMIT", "")],
)
def test_the_control_plane_names_a_setting_of_builds(
    tmp_path: Path, variable: str, value: str
) -> None:
    ended = run(tmp_path, "dcf.controlplane", **{variable: value})

    assert ended.returncode == 1
    assert f"{variable}: expected " in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("value", ["nan", "-1", "soon"])
def test_the_supervisor_names_its_option(tmp_path: Path, value: str) -> None:
    ended = run(tmp_path, "dcf.supervision", "--state", str(tmp_path), f"--grace={value}")

    assert ended.returncode == 2
    assert "argument --grace: expected a number of seconds from 0 to 31536000" in ended.stderr


@pytest.mark.parametrize(
    ("command", "variable", "value"),
    [
        (("function", "build", "f"), "DCF_STORE_LIMIT", "20G"),
        (("gateway", "start"), "DCF_STORE_LIMIT", ""),
        (("gateway", "start"), "DCF_BUILD_TIMEOUT", "inf"),
        (("gateway", "start"), "DCF_CONTROL_HELD", "\udcff"),
        (("gateway", "start"), "DCF_CONTROL_LOG_LEVEL", "loud"),
        (("gateway", "start"), "DCF_ENVOY_BUFFER", "9" * 400),
        (("gateway", "start"), "DCF_ENVOY_LOG_LEVEL", "loud"),
    ],
)
def test_the_command_line_names_the_setting(
    tmp_path: Path, command: tuple[str, ...], variable: str, value: str
) -> None:
    ended = run(tmp_path, "dcf.cli", *command, **{variable: value})

    assert ended.returncode == 3
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"Error: {variable}: expected ")


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        (("function", "run", "f"), "--start-timeout", "inf"),
        (("function", "call", "f"), "--timeout", "nan"),
        (("function", "deploy", "f"), "--timeout", "1e300"),
        (("gateway", "stop"), "--timeout", "-1"),
    ],
)
def test_the_command_line_names_the_option(
    tmp_path: Path, command: tuple[str, ...], option: str, value: str
) -> None:
    ended = run(tmp_path, "dcf.cli", *command, f"{option}={value}")

    assert ended.returncode == 2
    assert f"Invalid value for '{option}': expected a number of seconds " in ended.stderr
    assert f", got '{value}'" in ended.stderr


def test_a_queue_that_no_file_can_record_is_allowed(launch, short_dir: Path) -> None:
    table = short_dir / "calls" / "replica"

    running = launch(ECHO, queue=2**63 - 1, call_table=str(table))

    assert running.call(b"x") == b"x"
    assert "each call is marked by an interim response" in running.log
