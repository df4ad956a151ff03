"""Drives wrk: a load generator in C, so that the generator is not what is measured."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.figures import BenchFailed

BINARY = "application/octet-stream"
JSON = "application/json"

_SCRIPT = """
local file = assert(io.open("{body}", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "{content_type}"
file:close()

done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("FOUND %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), e.connect + e.read + e.write + e.status + e.timeout))
end
"""
_FOUND = re.compile(r"^FOUND (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)


class LoadFailed(BenchFailed):
    """wrk is missing, or calls failed."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one burst found.

    Attributes:
        rate: Calls in a second.
        p50: Microseconds that half of the calls took at most.
        calls: How many there were.
        failed: How many of them failed, or were answered with an error.
    """

    rate: float
    p50: float
    calls: int
    failed: int


def find_wrk() -> str:
    """Where wrk is.

    Raises:
        LoadFailed: When it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise LoadFailed(
            "wrk is not installed. It is a package of most distributions and of Homebrew:"
            " `apt install wrk`, `dnf install wrk`, `brew install wrk`."
        )
    return found


def drive(
    url: str, body: bytes, *, connections: int, seconds: int, content_type: str = BINARY
) -> Load:
    """Sends ``body`` over and over, a new call on a connection as soon as it has its reply.

    Raises:
        LoadFailed: When any call fails or is answered with an error.
    """
    found = count(url, body, connections=connections, seconds=seconds, content_type=content_type)
    if found.failed:
        raise LoadFailed(f"{found.failed} of {found.calls} calls to {url} failed")
    return found


def count(
    url: str, body: bytes, *, connections: int, seconds: int, content_type: str = BINARY
) -> Load:
    """As :func:`drive`, for load of which a part may fail.

    One thread of wrk is enough: it is many times faster than any of the servers.

    Raises:
        LoadFailed: When there was no call at all.
    """
    with tempfile.TemporaryDirectory(prefix="dcf-bench-") as folder:
        content = Path(folder) / "body"
        content.write_bytes(body)
        script = Path(folder) / "script.lua"
        script.write_text(_SCRIPT.format(body=content, content_type=content_type))
        command = [find_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    match = _FOUND.search(done.stdout)
    if done.returncode != 0 or match is None:
        raise LoadFailed(f"wrk failed:\n{done.stdout}{done.stderr}")
    calls, microseconds, p50, failed = (int(text) for text in match.groups())
    if not calls:
        raise LoadFailed(f"no call to {url} was answered")
    return Load(calls / (microseconds / 1e6), float(p50), calls, failed)
