"""Runs wrk: a load generator in C, so that the generator is not the bottleneck."""

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
    """The result of a burst.

    Attributes:
        rate: Calls per second.
        p50: Median duration in microseconds.
        calls: Number of calls.
        failed: Number of calls that failed or got an error.
    """

    rate: float
    p50: float
    calls: int
    failed: int


def find_wrk() -> str:
    """Return the path of wrk.

    Raises:
        LoadFailed: If it is not installed.
    """
    path = shutil.which("wrk")
    if path is None:
        raise LoadFailed(
            "wrk is not installed. It is a package of most distributions and of Homebrew:"
            " `apt install wrk`, `dnf install wrk`, `brew install wrk`."
        )
    return path


def drive(
    url: str, body: bytes, *, connections: int, seconds: int, content_type: str = BINARY
) -> Load:
    """Send ``body`` repeatedly; each connection sends its next call as soon as it has the reply.

    Raises:
        LoadFailed: If any call fails or gets an error.
    """
    burst = count(url, body, connections=connections, seconds=seconds, content_type=content_type)
    if burst.failed:
        raise LoadFailed(f"{burst.failed} of {burst.calls} calls to {url} failed")
    return burst


def count(
    url: str, body: bytes, *, connections: int, seconds: int, content_type: str = BINARY
) -> Load:
    """Work like :func:`drive`, but let calls fail.

    One thread of wrk is enough: it is many times faster than any of the servers.

    Raises:
        LoadFailed: If there was no call at all.
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
