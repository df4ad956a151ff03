"""Deployed handlers that fork, detach, hold the interpreter's lock or lose their loop."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from e2e.gateway_process import GatewayProcess, running

pytestmark = pytest.mark.slow

HASTY = ("DCF_CONTROL_HEALTH_INTERVAL=0.2", "DCF_CONTROL_HEALTH_SILENCE=2")

PROGRAM = """
import asyncio, ctypes, multiprocessing, os, subprocess, sys, time

hold = ctypes.PyDLL(None).sleep  # C that keeps the interpreter's lock

class Handler:
    def __call__(self, req):
        word, _, more = req.text.partition(" ")
        if word == "pool":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                return str(pool.map(abs, [-1]))
        if word == "hold":
            hold(int(more))
        if word == "detach":
            quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            child = subprocess.Popen(
                ["/bin/sleep", "600"], start_new_session=True, env={}, cwd="/", **quiet
            )
            return str(child.pid)
        return str(os.getpid())
"""

LEAVES = """
import asyncio, os, sys
async def leave():
    sys.exit(4)
async def Handler(req):
    if req.input:
        asyncio.create_task(leave())
        await asyncio.sleep(60)
    return str(os.getpid())
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    before = ("env", *HASTY)
    with running(tmp_path_factory.mktemp("gateway"), before=before, shared=True) as gateway:
        yield gateway


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_replica_survives_a_handler_that_forks_and_holds_the_interpreter(gateway):
    gateway.deploy(gateway.write("program", PROGRAM))
    replicas = gateway.replicas("program")
    assert gateway.call("program", b"pool") == (200, b"[1]")
    begin = time.monotonic()
    status, pid = gateway.call("program", b"hold 5")
    assert (status, time.monotonic() - begin > 4.5) == (200, True)
    assert gateway.call("program") == (200, pid)
    assert gateway.replicas("program") == replicas
    gateway.client.delete("program")


def test_a_detached_child_ends_with_its_function(gateway):
    gateway.deploy(gateway.write("detaches", PROGRAM))
    child = int(gateway.call("detaches", b"detach")[1])
    other = gateway.write("other", PROGRAM)
    gateway.deploy(other)
    gateway.client.delete("other")
    assert alive(child)
    gateway.client.delete("detaches")
    gateway.until(lambda: not alive(child))


def test_a_replica_whose_loop_has_ended_is_replaced_at_once(gateway):
    gateway.deploy(gateway.write("leaves", LEAVES))
    first = gateway.call("leaves")
    begin = time.monotonic()
    assert gateway.call("leaves", b"x")[0] in {502, 503}
    gateway.until(lambda: gateway.call("leaves")[0] == 200)
    assert time.monotonic() - begin < 15
    assert gateway.call("leaves") != first
    events = [event.detail for event in gateway.client.events("leaves")]
    assert any(
        "the handler's event loop ended: the handler called sys.exit(4)" in detail
        for detail in events
    )
    gateway.client.delete("leaves")


def test_an_authors_files_and_variables_do_not_prevent_a_start(gateway):
    folder = gateway.write(
        "shadows",
        "import far\ndef Handler(req): return far.__name__",
        config="    environment: {PYTHONPATH: lib}\n    limits: {memory: 512M}\n",
    )
    for name in ("types.py", "src/types.py", "src/queue.py", "dcf/__init__.py", "src/random.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise ImportError('shadowed')")
    (folder / "lib").mkdir()
    (folder / "lib" / "far.py").touch()
    gateway.deploy(folder)
    assert gateway.call("shadows") == (200, b"far")
    logged = "\n".join(line.text for line in gateway.client.logs("shadows"))
    assert "queue.py cannot be imported" in logged
    gateway.client.delete("shadows")
