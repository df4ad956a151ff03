"""Runs h2load with a gRPC request: a load generator in C, like wrk for HTTP/1.1."""

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
"""Seconds of warm-up before the measurement."""
_PATIENCE = 20
"""Maximum seconds for the start of a server, and for a call."""


def find_h2load() -> str:
    """Return the path of h2load.

    Raises:
        SkippedBench: If it is not installed.
    """
    path = shutil.which("h2load")
    if path is None:
        raise SkippedBench(
            "h2load is not installed. It comes with nghttp2: `apt install nghttp2-client`,"
            " `dnf install nghttp2`, `brew install nghttp2`."
        )
    return path


def request(function: str, data: bytes) -> bytes:
    """Encode a call for the wire: the message, preceded by its flag and its length."""
    message = MESSAGES["InvokeServiceRequest"](Service=function, Input=data).SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + bytes(message)


def check(port: int, function: str, data: bytes) -> None:
    """Make a call with grpcio and compare the reply: h2load does not check the gRPC status.

    Raises:
        BenchFailed: If the reply differs.
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
    """Return a measurement of calls per second.

    Args:
        port: A port of 127.0.0.1.
        function: The function to call.
        data: The input, which the function must return.
        connections: Connections of the generator.
        streams: Concurrent calls on each connection.
        seconds: The duration.
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
        rate, calls = _FOUND.search(done.stdout), _CALLS.search(done.stdout)
        if done.returncode != 0 or rate is None or calls is None or int(calls[3]):
            raise BenchFailed(f"h2load failed:\n{done.stdout}{done.stderr}")
        return float(rate[1])

    return measure
