"""Deployed handlers that fork, detach, keep the interpreter's lock or lose their loop."""

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
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    before = ("env", *HASTY)
    with running(tmp_path_factory.mktemp("house"), before=before, shared=True) as house:
        yield house


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_handler_forks_and_holds_the_interpreter_and_its_replica_stays(house):
    house.deploy(house.write("program", PROGRAM))
    replicas = house.replicas("program")
    assert house.call("program", b"pool") == (200, b"[1]")
    begin = time.monotonic()
    status, pid = house.call("program", b"hold 5")
    assert (status, time.monotonic() - begin > 4.5) == (200, True)
    assert house.call("program") == (200, pid)
    assert house.replicas("program") == replicas
    house.client.delete("program")


def test_a_detached_child_ends_with_its_function(house):
    house.deploy(house.write("detaches", PROGRAM))
    child = int(house.call("detaches", b"detach")[1])
    other = house.write("other", PROGRAM)
    house.deploy(other)
    house.client.delete("other")
    assert alive(child)
    house.client.delete("detaches")
    house.until(lambda: not alive(child))


def test_a_replica_whose_loop_has_ended_is_replaced_at_once(house):
    house.deploy(house.write("leaves", LEAVES))
    first = house.call("leaves")
    begin = time.monotonic()
    assert house.call("leaves", b"x")[0] in {502, 503}
    house.until(lambda: house.call("leaves")[0] == 200)
    assert time.monotonic() - begin < 15
    assert house.call("leaves") != first
    events = [one.detail for one in house.client.events("leaves")]
    assert any(
        "the handler's event loop ended: the handler called sys.exit(4)" in one for one in events
    )
    house.client.delete("leaves")


def test_files_and_variables_of_the_authors_keep_no_function_from_starting(house):
    folder = house.write(
        "shadows",
        "import far\ndef Handler(req): return far.__name__",
        config="    environment: {PYTHONPATH: lib}\n    limits: {memory: 512M}\n",
    )
    for name in ("types.py", "src/types.py", "src/queue.py", "dcf/__init__.py", "src/random.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise ImportError('shadowed')")
    (folder / "lib").mkdir()
    (folder / "lib" / "far.py").touch()
    house.deploy(folder)
    assert house.call("shadows") == (200, b"far")
    logged = "\n".join(line.text for line in house.client.logs("shadows"))
    assert "queue.py cannot be imported" in logged
    house.client.delete("shadows")
