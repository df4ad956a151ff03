"""Drives h2load with a gRPC request: a load generator in C, as wrk is for HTTP/1.1."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable

import grpc
from bench.figures import BenchFailed, SkippedBench

from dcf.rpc.gateway_messages import MESSAGES, SERVICE

METHOD = f"/{SERVICE}/Invoke"
_FOUND = re.compile(r"^finished in .*, ([0-9.]+) req/s,", re.MULTILINE)
_CALLS = re.compile(r"^requests: .* (\d+) done, (\d+) succeeded, (\d+) failed", re.MULTILINE)
_WARM = "300ms"
"""Of load before that which counts."""
_PATIENCE = 20
"""Seconds that a server may take to start, and for a call."""


def find_h2load() -> str:
    """Where h2load is.

    Raises:
        SkippedBench: When it is not installed.
    """
    found = shutil.which("h2load")
    if found is None:
        raise SkippedBench(
            "h2load is not installed. It comes with nghttp2: `apt install nghttp2-client`,"
            " `dnf install nghttp2`, `brew install nghttp2`."
        )
    return found


def request(function: str, data: bytes) -> bytes:
    """A call as it goes over the wire: the message, its flag and its length in front."""
    message = MESSAGES["InvokeServiceRequest"](Service=function, Input=data).SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + bytes(message)


def check(port: int, function: str, data: bytes) -> None:
    """One call by grpcio, whose reply must be what was sent: h2load looks at no gRPC status.

    Raises:
        BenchFailed: When it is not.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        message = request(function, data)[5:]
        try:
            reply = channel.unary_unary(METHOD)(message, timeout=_PATIENCE, wait_for_ready=True)
        except grpc.RpcError as error:
            raise BenchFailed(f"Invoke fails: {error.code()}, {error.details()}") from error
    if MESSAGES["Message"].FromString(reply).Msg.encode() != data:
        raise BenchFailed("Invoke gives another reply than it should")


def rate(
    port: int, function: str, data: bytes, *, connections: int, streams: int, seconds: int
) -> Callable[[], float]:
    """A measurement of calls in a second.

    Args:
        port: Of 127.0.0.1.
        function: Which is called.
        data: What it is called with, and answers.
        connections: Of the generator.
        streams: Calls under way at a time on each of them.
        seconds: How long.
    """

    def measure() -> float:
        check(port, function, data)
        with tempfile.NamedTemporaryFile(prefix="dcf-bench-") as body:
            body.write(request(function, data))
            body.flush()
            command = [find_h2load(), f"-c{connections}", f"-m{streams}", "-t1", f"-D{seconds}",
                       f"--warm-up-time={_WARM}", f"-d{body.name}",
                       "-w20", "-W22", "-Hcontent-type: application/grpc", "-Hte: trailers",
                       f"http://127.0.0.1:{port}{METHOD}"]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        found, calls = _FOUND.search(done.stdout), _CALLS.search(done.stdout)
        if done.returncode != 0 or found is None or calls is None or int(calls[3]):
            raise BenchFailed(f"h2load failed:\n{done.stdout}{done.stderr}")
        return float(found[1])

    return measure
