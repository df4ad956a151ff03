"""What handlers may do that programs do: processes, signals, contexts, modules of any name."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

import pytest

from dcf import errors
from dcf.protocol.exits import WatcherExit

pytestmark = pytest.mark.slow

PROCESSES = """
import concurrent.futures, ctypes, multiprocessing, os, signal, subprocess, sys, threading, time

def double(n): return 2 * n
def ppid(_): return os.getppid()
def die(_): os._exit(3)
def rest(): time.sleep(60)
def cause(_): raise ValueError("cause")

def pool(kind):
    with multiprocessing.get_context(kind).Pool(2) as workers:
        return workers.map(double, [1, 2, 3])

def terminated(kind):
    process = multiprocessing.get_context(kind).Process(target=rest)
    process.start()
    process.terminate()
    process.join(10)
    return process.exitcode

def executor(kind):
    context = multiprocessing.get_context(kind)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as workers:
        return list(workers.map(double, [1, 2, 3]))

def broken():
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as workers:
        try:
            workers.submit(die, 0).result()
        except concurrent.futures.process.BrokenProcessPool as error:
            return type(error).__name__

def forked(act):
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def kill_self(number):
    os.kill(os.getpid(), number)
    time.sleep(10)

def forked_and_left(leave):
    pid = os.fork()
    if pid == 0:
        leave()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def raises(): raise RuntimeError("of the child")

def alarm():
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append("rang"))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    time.sleep(0.2)
    signal.signal(signal.SIGALRM, before)
    return rang

def timed_out():
    class Late(Exception): pass
    def ring(*_): raise Late
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        time.sleep(20)
    except Late:
        return "late"

def waits():
    pids = []
    for code in (3, 4):
        pid = os.fork()
        if pid == 0: os._exit(code)
        pids.append(pid)
    return sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in pids)

def children():
    told = []
    before = signal.signal(signal.SIGCHLD, lambda *_: told.append("ended"))
    subprocess.run(["true"], check=True)
    signal.signal(signal.SIGCHLD, before)
    return told

def shell(command, **given):
    return subprocess.run(command, shell=True, capture_output=True, text=True, **given).stdout.strip()

def group():
    process = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    os.killpg(process.pid, signal.SIGTERM)
    return process.wait(10)

def interrupted():
    process = subprocess.Popen(["sleep", "60"])
    process.send_signal(signal.SIGINT)
    return process.wait(10)

def forked_and_returned():
    pid = os.fork()
    return pid and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

class Handler:
    def __call__(self, req):
        return repr(eval(req.text))
"""


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        *((f"pool({kind!r})", "[2, 4, 6]") for kind in ("fork", "spawn", "forkserver")),
        *((f"executor({kind!r})", "[2, 4, 6]") for kind in ("fork", "spawn", "forkserver")),
        *((f"terminated({kind!r})", "-15") for kind in ("fork", "spawn", "forkserver")),
        ("broken()", "'BrokenProcessPool'"),
        ("forked(lambda: None)", "0"),
        ("forked(lambda: kill_self(15))", "-15"),
        ("forked(lambda: os.setsid())", "0"),
        ("forked(lambda: forked(lambda: kill_self(15)) == -15 or os._exit(9))", "0"),
        ("forked(lambda: subprocess.run(['true'], check=True))", "0"),
        ("forked_and_returned()", "0"),
        ("forked_and_left(lambda: sys.exit(5))", "5"),
        ("forked_and_left(lambda: sys.exit('no'))", "1"),
        ("forked_and_left(raises)", "1"),
        ("alarm()", "['rang']"),
        ("timed_out()", "'late'"),
        ("waits()", "[3, 4]"),
        ("children()", "['ended']"),
        ("group()", "-15"),
        ("interrupted()", "-2"),
        ("os.system('exit 3') >> 8", "3"),
        ("shell('echo $((1 + 1))', close_fds=False)", "'2'"),
        ("shell('echo $0', start_new_session=True)", "'/bin/sh'"),
        ("threading.main_thread() is threading.current_thread()", "True"),
        ("{*subprocess._args_from_interpreter_flags()} & {'-S', '-P', '-I'}", "set()"),
        ("sys.stdin.read()", "''"),
    ],
)
def test_a_handler_does_what_a_program_does(launch_shared, expression, result):
    running = launch_shared(PROCESSES)
    assert running.call(expression.encode()).decode() == result
    # The replica itself heard nothing of it.
    assert running.call(b"0") == b"0"
    assert running.replica.poll() is None


@pytest.mark.parametrize(
    "expression", ["pool('fork')", "terminated('fork')", "forked_and_returned()"]
)
def test_a_handler_in_several_threads_forks_like_one_in_the_main_thread(launch_shared, expression):
    running = launch_shared(PROCESSES, concurrency=3)
    expected = launch_shared(PROCESSES).call(expression.encode())
    assert [running.call(expression.encode()) for _ in range(4)] == [expected] * 4
    assert running.replica.poll() is None


ASYNC = """
import asyncio, concurrent.futures, multiprocessing, os, signal, sys
def double(n): return 2 * n

async def told():
    process = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
    return await process.wait()

async def pool():
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as workers:
        return await asyncio.get_running_loop().run_in_executor(workers, double, 4)

async def signalled():
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, heard.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(heard.wait(), 10)
    return "heard"

async def left(code):
    pid = os.fork()
    if pid == 0: sys.exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

async def Handler(req):
    return repr(await eval(req.text))
"""


@pytest.mark.parametrize(
    ("expression", "result"),
    [("told()", "7"), ("pool()", "8"), ("signalled()", "'heard'"), ("left(6)", "6")],
)
def test_an_async_handler_does_what_a_program_does(launch, expression, result):
    running = launch(ASYNC)
    assert running.call(expression.encode()).decode() == result
    begin = time.monotonic()
    assert running.replica.stop(10).code == WatcherExit.DRAINED
    assert time.monotonic() - begin < 5


SIGNALS = """
import signal
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append("USR1"))
signal.signal(signal.SIGTERM, lambda *_: heard.append("TERM"))
import atexit, sys
atexit.register(lambda: print("heard", heard, file=sys.stderr))
class Handler:
    def __init__(self):
        signal.signal(signal.SIGUSR2, lambda *_: heard.append("USR2"))
    def __call__(self, req):
        import os
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        return ",".join(heard)
"""


def test_a_handler_sets_signal_handlers_and_the_replica_still_drains(launch):
    running = launch(SIGNALS)
    assert running.call() == b"USR1,USR2"
    assert running.replica.stop(10).code == WatcherExit.DRAINED
    assert "heard ['USR1', 'USR2', 'TERM']" in running.log


def test_a_forked_child_at_import_ends_where_the_program_would(launch):
    running = launch(
        """
        import os, sys
        pid = os.fork()
        if pid == 0:
            sys.exit(7)
        status = os.waitpid(pid, 0)[1]
        def Handler(req): return str(os.waitstatus_to_exitcode(status))
        """
    )
    assert running.call() == b"7"


@pytest.mark.parametrize("address", ["", "tcp:127.0.0.1:0"])
def test_a_forked_child_holds_no_connection_of_its_replica_open(launch, address):
    given = {"listen": address} if address else {}
    running = launch(
        """
        import os, time
        def Handler(req):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            return str(pid)
        """,
        **given,
    )
    kind, _, where = running.endpoint.partition(":")
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        target = (
            where if kind == "unix" else (where.partition(":")[0], int(where.partition(":")[2]))
        )
        connection.connect(target)
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        reply = b""
        while data := connection.recv(65536):
            reply += data
    child = int(reply.rpartition(b"\r\n\r\n")[2])
    os.kill(child, 0)
    running.replica.drain()
    assert running.replica.wait(10) is not None
    with (
        socket.socket(family, socket.SOCK_STREAM) as late,
        pytest.raises((ConnectionRefusedError, FileNotFoundError)),
    ):
        late.connect(target)
    running.replica.stop(1)


LOST = {
    "a task that calls sys.exit": """
        import asyncio, sys
        async def end(): sys.exit(4)
        async def Handler(req):
            asyncio.create_task(end())
            await asyncio.sleep(60)
        """,
    "a loop that is stopped": """
        import asyncio
        async def Handler(req):
            asyncio.get_running_loop().stop()
            await asyncio.sleep(60)
        """,
    "tasks that are all cancelled": """
        import asyncio
        async def Handler(req):
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task(): task.cancel()
            await asyncio.sleep(60)
        """,
    "an exception raised into an idle thread": """
        import ctypes, os, signal, threading, time
        ours = threading.get_ident()
        def raise_soon():
            time.sleep(0.2)
            raised = ctypes.py_object(KeyboardInterrupt)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ours), raised)
            os.kill(os.getpid(), signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        def Handler(req):
            threading.Thread(target=raise_soon, daemon=True).start()
            return "soon"
        """,
    "a signal handler that leaves": """
        import os, signal, sys, threading
        signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
        def Handler(req):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            return "soon"
        """,
}


@pytest.mark.parametrize("source", LOST.values(), ids=LOST)
def test_a_replica_whose_handler_is_lost_ends_at_once_and_says_why(launch, source):
    running = launch(source)
    begin = time.monotonic()
    with suppress(errors.DcfError):
        running.call()
    assert running.replica.wait(10).code == WatcherExit.LOST
    assert time.monotonic() - begin < 8
    assert "the handler's" in running.log
    assert "ended:" in running.log


CONTEXT = """
import contextvars, decimal
from dcf.function.request import CURRENT
var = contextvars.ContextVar("var", default="clean")
{at_import}
def peek_and_set(req):
    seen = var.get(), decimal.getcontext().prec, CURRENT.get() is not None
    var.set(req.text)
    decimal.getcontext().prec = 5
    return seen
"""

KINDS = {
    "plain": "def Handler(req): return repr(peek_and_set(req))",
    "async": "async def Handler(req): return repr(peek_and_set(req))",
    "several threads": "def Handler(req): return repr(peek_and_set(req))",
    "one at a time": "async def Handler(req): return repr(peek_and_set(req))",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("at_import", "found"),
    [
        ("", "('clean', 28, True)"),
        ("var.set('base'); decimal.getcontext().prec = 40", "('base', 40, True)"),
    ],
)
def test_no_call_sees_what_another_one_has_set(launch, kind, at_import, found):
    concurrency = {"several threads": 3, "one at a time": 1}.get(kind, 0)
    running = launch(CONTEXT.format(at_import=at_import) + KINDS[kind], concurrency=concurrency)
    assert [running.call(b"x").decode() for _ in range(4)] == [found] * 4


GENERATORS = {
    "plain": """
def Handler(req):
    try:
        for n in range(3):
            yield var.get()
            var.set(f"{req.text}{n}")
    finally:
        ended.append(var.get())
""",
    "async": """
async def Handler(req):
    try:
        for n in range(3):
            yield var.get()
            var.set(f"{req.text}{n}")
    finally:
        ended.append(var.get())
""",
}


@pytest.mark.parametrize("kind", GENERATORS)
def test_all_steps_of_a_generator_share_one_context(launch, kind):
    source = """
import contextvars
var = contextvars.ContextVar("var", default="-")
ended = []
"""
    running = launch(source + GENERATORS[kind])
    assert [running.call(b"a"), running.call(b"b")] == [b"-a0a1", b"-b0b1"]


PER_MESSAGE = {
    "plain": "def Handler(req):\n  old = var.get(); var.set(req.text); return old + var.get()",
    "async": (
        "import asyncio\nasync def Handler(req):\n  old = var.get(); var.set(req.text);"
        " await asyncio.sleep(0); return old + var.get()"
    ),
    "generators": (
        "def make(req):\n  old = var.get(); var.set(req.text); yield old; yield var.get()\n"
        "def Handler(req): return make(req)"
    ),
    "async generators": (
        "async def make(req):\n  old = var.get(); var.set(req.text); yield old; yield var.get()\n"
        "async def Handler(req): return make(req)"
    ),
}


@pytest.mark.parametrize("kind", PER_MESSAGE)
def test_each_message_of_a_stream_has_its_own_context(launch, kind):
    source = "import contextvars\nvar = contextvars.ContextVar('var', default='-')\n"
    running = launch(source + PER_MESSAGE[kind])
    with running.client().stream([b"a", b"b"]) as replies:
        assert b"".join(replies) == b"-a-b"
