"""How long a deploy takes, from the command to replicas that take calls, and what travels.

Whole commands, ``dcf-cli function deploy``, with nothing left to build. The author's data folder
and the gateway's are two, as if they were two machines: whatever the gateway is to have, it must be
sent. What was sent is read from the gateway's access log.
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
    """Yields seconds, and bytes."""
    with scratch() as folder:
        bench = _Bench(folder)
        with gateway(folder / "gateway") as ours:
            bench.ours = ours
            bench.hello()
            first = bench.large()
            found = alternate({"hello": bench.again, "large": bench.changed}, ROUNDS)
        yield _seconds("deploy of what is built, to ready: hello", found["hello"], HELLO_BAR)
        yield _seconds("a changed line beside a 300 MB model, to ready", found["large"], None)
        more = median(found["large"]) - median(found["hello"])
        yield Figure("that, over hello", more, "s", CHANGED_BAR, at_least=False)
        size = float(len(HANDLER.format(edition=0)))
        raw = f"{bench.blobs} blob; the handler's file has {size:.0f} B"
        yield Figure("that, contents sent", bench.sent, "B", size, at_least=False, raw=raw)
        yield Figure("the 300 MB model's first deploy, to ready", first, "s")


def _seconds(name: str, times: list[float], bar: float | None) -> Figure:
    raw = f"{median(times):.2f} s ({min(times):.2f}-{max(times):.2f})"
    return Figure(name, median(times), "s", bar, at_least=False, raw=raw)


class _Bench:
    """Attributes:
    ours: Where to deploy.
    sent: Most bytes of contents that one change sent.
    blobs: In so many requests.
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
        """A deploy of a function that was deployed before, and is not now."""
        self._dcf("delete", "hello")
        return self.hello()

    def hello(self) -> float:
        """A deploy of the small function."""
        return seconds_of(lambda: self._dcf("deploy", f"{self._hello}/"))

    def large(self) -> float:
        """A deploy of the function with the model."""
        return seconds_of(lambda: self._dcf("deploy", f"{self._large}/"))

    def changed(self) -> float:
        """A deploy after a change of one line."""
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
    """The bytes of each blob that was sent for the deploy which began at ``since``."""
    sent: list[int] = []
    client = SupervisorClient(supervisor_socket(ours.places))
    logs = client.logs(ENVOY, since=since, follow=True)
    async with asyncio.timeout(10), contextlib.aclosing(logs) as lines:
        async for line in lines:
            call = json.loads(line.text)
            # Envoy writes lines a moment late: those of the deploy before are passed over.
            if datetime.fromisoformat(call["time"]).timestamp() < since:
                continue
            if call["path"].startswith(SEND_BLOB.prefix):
                sent.append(call["received"])
            if call["path"] == DEPLOY.path and call["method"] == "POST":
                break
    return sent
