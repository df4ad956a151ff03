"""The duration of a deploy, from the command to ready replicas, and the bytes that it sends.

It runs whole commands, ``dcf-cli function deploy``, with nothing left to build. The author and the
gateway have separate data folders, as on two machines: whatever the gateway needs must be sent. The
gateway's access log shows what was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median

from bench.figures import BenchFailed, Figure, alternate, seconds_of
from bench.gateways import CLI, Gateway, gateway, packaged, scratch, write

from dcf.gateway.processes import ENVOY, supervisor_socket
from dcf.protocol.routes import DEPLOY, SEND_BLOB
from dcf.supervision.supervisor_client import SupervisorClient

ROUNDS = 7
HELLO_BAR = 1.5
CHANGED_BAR = 1.0
MODEL_BYTES = 300 * 1000**2
HANDLER = """\
from pathlib import Path

SIZE = Path("model.bin").stat().st_size


def Handler(req):
    return f"{{SIZE}} {edition:06}"
"""


def measure() -> Iterator[Figure]:
    """Yield seconds and bytes."""
    with scratch() as folder:
        bench = _Bench(folder)
        with gateway(folder / "gateway") as ours:
            bench.ours = ours
            bench.hello()
            first = bench.large()
            samples = alternate({"hello": bench.again, "large": bench.changed}, ROUNDS)
        yield _seconds("deploy, already built, to ready: hello", samples["hello"], HELLO_BAR)
        yield _seconds("a changed line with a 300 MB model, to ready", samples["large"], None)
        more = median(samples["large"]) - median(samples["hello"])
        yield Figure(
            "a changed line with a 300 MB model, minus hello",
            more,
            "s",
            CHANGED_BAR,
            at_least=False,
        )
        size = float(len(HANDLER.format(edition=0)))
        raw = f"{bench.blobs} blob; the handler's file has {size:.0f} B"
        yield Figure(
            "a changed line with a 300 MB model, contents sent",
            bench.sent,
            "B",
            size,
            at_least=False,
            raw=raw,
        )
        yield Figure("first deploy with a 300 MB model, to ready", first, "s")


def _seconds(name: str, times: list[float], bar: float | None) -> Figure:
    raw = f"{median(times):.2f} s ({min(times):.2f}-{max(times):.2f})"
    return Figure(name, median(times), "s", bar, at_least=False, raw=raw)


class _Bench:
    """Attributes:
    ours: The gateway.
    sent: Maximum bytes of contents that a change sent.
    blobs: The number of blobs in which it sent them.
    """

    ours: Gateway

    def __init__(self, folder: Path) -> None:
        self._author = folder / "author"
        self._hello = write(folder / "hello", "def Handler(req):\n    return b'Hello'\n")
        self._large = write(folder / "large", HANDLER.format(edition=0))
        with (self._large / "src" / "model.bin").open("wb") as model:
            for _ in range(MODEL_BYTES // 1000**2):
                model.write(os.urandom(1000**2))
        self._editions = 0
        self.sent = self.blobs = 0
        packaged(self._hello, self._author / "store")

    def again(self) -> float:
        """Deploy a function that was deployed before and deleted."""
        self._dcf("delete", "hello")
        return self.hello()

    def hello(self) -> float:
        """Deploy the small function."""
        return seconds_of(lambda: self._dcf("deploy", f"{self._hello}/"))

    def large(self) -> float:
        """Deploy the function with the model."""
        return seconds_of(lambda: self._dcf("deploy", f"{self._large}/"))

    def changed(self) -> float:
        """Deploy after a change of a line."""
        self._editions += 1
        text = HANDLER.format(edition=self._editions)
        (self._large / "src" / "handler.py").write_text(text)
        began = time.time()
        seconds = self.large()
        sent = asyncio.run(_blobs_sent(self.ours, began))
        self.sent, self.blobs = max(self.sent, sum(sent)), max(self.blobs, len(sent))
        return seconds

    def _dcf(self, *arguments: str) -> None:
        env = {**self.ours.env, "DCF_DATA_DIR": str(self._author)}
        command = [str(CLI), "function", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchFailed(f"{command} failed: {done.stderr}")


async def _blobs_sent(ours: Gateway, since: float) -> list[int]:
    """Return the size of each blob that was sent for the deploy that began at ``since``."""
    sent: list[int] = []
    client = SupervisorClient(supervisor_socket(ours.places))
    logs = client.logs(ENVOY, since=since, follow=True)
    async with asyncio.timeout(10), contextlib.aclosing(logs) as lines:
        async for line in lines:
            call = json.loads(line.text)
            # Envoy writes lines with a short delay: skip the lines of the previous deploy.
            if datetime.fromisoformat(call["time"]).timestamp() < since:
                continue
            if call["path"].startswith(SEND_BLOB.prefix):
                sent.append(call["received"])
            if call["path"] == DEPLOY.path and call["method"] == "POST":
                break
    return sent
