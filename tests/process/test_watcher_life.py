"""Start, deadlines, and every way to end."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from dcf import errors
from dcf.protocol.exits import WatcherExit

TESTS = Path(__file__).parents[1]

SLOW = """
import time
class Handler:
    def __call__(self, req):
        time.sleep(float(req.text))
        return "slept"
"""


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("class Handler\n  pass", errors.HandlerImportFailed, "SyntaxError: expected ':'"),
        ("import nothing_like_it", errors.HandlerImportFailed, "No module named"),
        ("import sys; sys.exit(4)", errors.HandlerImportFailed, r"called sys.exit\(4\)"),
        ("class handler: pass", errors.HandlerNotFound, "no Handler .* did you mean handler"),
        ("x = 1", errors.HandlerNotFound, "neither a class nor a function"),
        (
            "Handler = 3",
            errors.HandlerNotFound,
            "expected Handler in handler.py to be a class or a function, got 3",
        ),
        ("class Handler: pass", errors.HandlerNotFound, "no method __call__"),
        ("def Handler(): pass", errors.HandlerNotFound, "cannot be called with one request"),
        (
            (
                "class Handler:\n  def __init__(self): raise RuntimeError('no weights')\n"
                "  def __call__(self, req): pass"
            ),
            errors.HandlerInitFailed,
            r"Handler\(\) failed: RuntimeError: no weights",
        ),
        (
            (
                "class Handler:\n  def __init__(self): raise SystemExit('bye')\n"
                "  async def __call__(self, req): pass"
            ),
            errors.HandlerInitFailed,
            r"called sys.exit\('bye'\)",
        ),
    ],
)
def test_a_handler_that_cannot_start_says_why_and_ends(launch, source, error, message):
    running = launch(source, ready=False)
    begin = time.monotonic()
    with pytest.raises(error, match=message):
        running.replica.wait_ready()
    assert time.monotonic() - begin < 5
    assert running.replica.wait(5).code == WatcherExit.HANDLER


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_handler_that_cannot_even_be_looked_at_keeps_nobody_waiting(launch, kind):
    source = f"""
        class Handler:
            @property
            def __signature__(self): raise RuntimeError("odd")
            {kind} __call__(self, req): return b""
        """
    running = launch(source, ready=False)
    with pytest.raises(errors.HandlerInitFailed, match="cannot be started: RuntimeError: odd"):
        running.replica.wait_ready()


@pytest.mark.parametrize("wanted", [True, False])
def test_a_start_that_failed_is_told_in_the_log_where_that_is_wanted(launch, wanted):
    running = launch(
        "def load():\n  raise OSError('disk')\nload()", ready=False, log_failure=wanted
    )
    with pytest.raises(errors.HandlerImportFailed):
        running.replica.wait_ready()
    running.replica.wait(5)
    assert ("handler.py could not be imported" in running.log) is wanted
    assert ("OSError: disk" in running.log) is wanted


def test_the_traceback_begins_with_the_authors_code(launch):
    running = launch("def load():\n  raise OSError('disk')\nload()", ready=False)
    with pytest.raises(errors.HandlerImportFailed) as caught:
        running.replica.wait_ready()
    lines = caught.value.traceback.splitlines()
    assert lines[1].endswith('handler.py", line 3, in <module>')
    assert lines[-1] == "OSError: disk"


def test_a_missing_file_is_told_with_those_that_are_there(launch):
    running = launch("", ready=False, handler_file="other.py")
    with pytest.raises(errors.HandlerNotFound, match=r"other\.py in src/, found handler\.py"):
        running.replica.wait_ready()


def test_a_segfault_in_the_constructor_is_told(launch):
    running = launch("import ctypes; ctypes.string_at(0)", ready=False)
    with pytest.raises(errors.ReplicaExited, match="killed by SIGSEGV"):
        running.replica.wait_ready()
    assert "Segmentation fault" in running.log
    assert 'handler.py", line 1' in running.log


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_constructor_that_takes_too_long_tells_where_it_is(launch, kind):
    source = f"""
        import time
        def fetch():
            time.sleep(60)
        class Handler:
            def __init__(self): fetch()
            {kind} __call__(self, req): return b""
        """
    running = launch(source, ready=False, start_timeout=0.5)
    with pytest.raises(errors.StartTimeout, match=r"not ready within 0\.5 s") as caught:
        running.replica.wait_ready()
    lines = caught.value.traceback.splitlines()
    assert lines[0] == "Stack (most recent call last):"
    assert lines[1].endswith('handler.py", line 6, in __init__')
    assert lines[-1] == "    time.sleep(60)"
    assert running.replica.wait(5).code == WatcherExit.HANDLER


def test_an_import_that_takes_too_long_tells_where_it_is(launch):
    running = launch("import time\ntime.sleep(60)", ready=False, start_timeout=0.5)
    with pytest.raises(errors.StartTimeout) as caught:
        running.replica.wait_ready()
    assert 'handler.py", line 2, in <module>' in caught.value.traceback.splitlines()[1]


def test_a_constructor_that_lets_nothing_else_run_is_given_up_from_outside(launch, monkeypatch):
    monkeypatch.setattr("process.watcher_process.OVERDUE", 0.5)
    # PyDLL calls into C without releasing the interpreter's lock.
    source = "import ctypes; ctypes.PyDLL(None).sleep(60)"
    running = launch(source, ready=False, start_timeout=0.5)
    with pytest.raises(errors.StartTimeout, match="keeps its replica from telling"):
        running.replica.wait_ready()


def test_while_starting_health_is_good_and_calls_are_refused(launch):
    running = launch("import time; time.sleep(1.5)\ndef Handler(req): return 'x'", ready=False)
    for _ in range(100):
        try:
            health = running.client().call(b"", method="GET", path="/-/health")
            break
        except errors.ReplicaLost:
            time.sleep(0.02)
    assert health.read() == b'{"state": "starting"}\n'
    ready = running.client().call(b"", method="GET", path="/-/ready")
    assert (ready.status, ready.read()) == (503, b'{"state": "starting"}\n')
    with pytest.raises(errors.NotReady):
        running.call()
    running.replica.wait_ready()
    assert running.call() == b"x"


def test_an_address_that_is_taken(launch, short_dir):
    first = launch(SLOW, listen="tcp:127.0.0.1:0")
    running = launch(SLOW, ready=False, listen=first.endpoint)
    with pytest.raises(errors.AddressInUse, match="cannot listen on"):
        running.replica.wait_ready()
    assert running.replica.wait(5).code == WatcherExit.ADDRESS


def test_settings_that_do_not_fit(launch):
    running = launch(SLOW, ready=False, timeout=-1.0)
    with pytest.raises(errors.ReplicaExited, match=f"exit code {WatcherExit.SETTINGS}"):
        running.replica.wait_ready()
    assert "DCF_TIMEOUT" in running.log


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cgroups": "/no/such/group"}, "cannot join the control group /no/such/group: No"),
        ({"cpus": "4095"}, "cannot run on the cores 4095"),
        ({"memory_limit": 1}, r"expected a memory limit of at least \d+ MiB, got 0 MiB"),
        ({"gpu_locks": "/no/GPU-1.lock"}, "cannot reserve GPU-1: No such file"),
    ],
)
def test_a_replica_that_cannot_be_held_to_its_limits_does_not_start(launch, settings, message):
    running = launch(SLOW, ready=False, **settings)
    with pytest.raises(errors.ConfinementFailed, match=message):
        running.replica.wait_ready()
    assert running.replica.wait(5).code == WatcherExit.CONFINEMENT


def test_a_gpu_that_another_replica_has_is_not_taken(launch, tmp_path):
    launch(SLOW, gpu_locks=str(tmp_path / "GPU-1.lock"))
    second = launch(SLOW, ready=False, gpu_locks=str(tmp_path / "GPU-1.lock"))
    with pytest.raises(errors.ConfinementFailed, match="GPU-1 is used by another replica"):
        second.replica.wait_ready()


def test_a_handed_down_socket_takes_calls_once_ready(launch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n0")
        # the fixture has no way to hand a socket down, so the launcher is used as the CLI does
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DCF_")},
            "DCF_LISTEN": f"fd:{listener.fileno()}",
            "DCF_ROOT": str(launch(SLOW).folder),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "dcf.watcher"],
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with process, connection:
            assert connection.recv(65536).endswith(b"slept")
            process.terminate()
            assert process.wait(10) == 0


def test_sigterm_finishes_the_calls_in_flight(launch, latch):
    running = launch(latch.source + "def Handler(req): wait(); return 'slept'")
    results: list[bytes] = []
    callers = [threading.Thread(target=lambda: results.append(running.call())) for _ in range(3)]
    for caller in callers:
        caller.start()
    latch.reached()
    time.sleep(0.15)  # the others queue meanwhile
    running.replica.drain()
    time.sleep(0.15)  # the signal is heard meanwhile
    latch.open()
    for caller in callers:
        caller.join()
    assert results == [b"slept"] * 3
    assert running.replica.wait(5).code == WatcherExit.DRAINED


def test_a_drain_has_its_limit(launch):
    running = launch(SLOW, drain=1.0)
    caller = threading.Thread(target=_fails, args=(running, b"30"))
    caller.start()
    time.sleep(0.2)
    begin = time.monotonic()
    running.replica.drain()
    assert running.replica.wait(8) is not None
    assert time.monotonic() - begin < 6
    caller.join()


def test_atexit_and_child_processes_end_with_the_replica(launch, tmp_path):
    running = launch(
        f"""
        import atexit, subprocess
        atexit.register(lambda: open({str(tmp_path / "left")!r}, "w").close())
        child = subprocess.Popen(["sleep", "60"])
        def Handler(req): return str(child.pid)
        """
    )
    child = int(running.call())
    assert running.replica.stop(5).code == 0
    assert (tmp_path / "left").exists()
    assert _is_gone(child)


def test_a_call_past_its_deadline(launch, latch):
    running = launch(latch.source + "def Handler(req): wait(); return 'done'", timeout=0.3)
    begin = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded, match=r"no reply within 0\.3 s"):
        running.call()
    assert 0.3 <= time.monotonic() - begin < 2
    latch.open()
    assert running.call() == b"done"


def test_the_callers_deadline_counts_when_it_is_earlier(launch, latch):
    running = launch(latch.source + "def Handler(req): wait()", timeout=20.0)
    begin = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded, match=r"within 0\.2 s"):
        running.call(headers={"X-Dcf-Deadline-Ms": "200"})
    assert time.monotonic() - begin < 2


def test_a_call_that_expires_in_the_queue_never_reaches_the_handler(launch, latch):
    running = launch(
        latch.source
        + textwrap.dedent(
            """
            seen = []
            def Handler(req):
                seen.append(req.text)
                wait()
                return ",".join(seen)
            """
        )
    )
    slow = threading.Thread(target=running.call, args=(b"slow",))
    slow.start()
    latch.reached()
    with pytest.raises(errors.DeadlineExceeded):
        running.call(b"late", headers={"X-Dcf-Deadline-Ms": "100"})
    latch.open()
    slow.join()
    assert running.call(b"last") == b"slow,last"


def test_an_async_handler_is_cancelled_at_its_deadline(launch, tmp_path):
    running = launch(
        f"""
        import asyncio
        async def Handler(req):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                open({str(tmp_path / "cancelled")!r}, "w").close()
                raise
        """,
        timeout=0.3,
    )
    with pytest.raises(errors.DeadlineExceeded):
        running.call()
    until = time.monotonic() + 5
    while not (tmp_path / "cancelled").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert (tmp_path / "cancelled").exists()
    assert running.replica.poll() is None


def test_a_client_that_gave_up_early_costs_the_replica_nothing(launch):
    running = launch(
        """
        import asyncio
        async def Handler(req):
            if req.input:
                return "alive"
            await asyncio.sleep(60)
        """,
        timeout=0.6,
        grace=0.3,
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(running.endpoint.removeprefix("unix:"))
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        time.sleep(0.2)
    time.sleep(1.2)
    assert running.call(b"x") == b"alive"
    assert running.replica.poll() is None


def test_a_handler_that_will_not_stop_ends_the_process(launch):
    running = launch(
        """
        import time
        def Handler(req):
            def spin():
                while True:
                    time.sleep(0.01)
            spin()
        """,
        timeout=0.3,
        grace=0.4,
    )
    with pytest.raises(errors.DeadlineExceeded):
        running.call()
    waiting = threading.Thread(target=_fails, args=(running, b""))
    waiting.start()
    assert running.replica.wait(5).code == WatcherExit.STUCK
    waiting.join()
    assert "the handler was still running 0.4 s after its deadline" in running.log
    assert "in spin" in running.log


def test_a_client_that_goes_away_sets_cancelled(launch, tmp_path):
    running = launch(
        f"""
        import time
        def Handler(req):
            if req.input:
                return b"next"
            while not req.cancelled:
                time.sleep(0.005)
            open({str(tmp_path / "noticed")!r}, "w").close()
        """
    )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(running.endpoint.removeprefix("unix:"))
    connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    time.sleep(0.2)
    connection.close()
    assert running.call(b"x") == b"next"
    assert (tmp_path / "noticed").exists()


def test_half_a_body_that_stalls_is_given_up(launch):
    running = launch(SLOW, timeout=0.4)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(running.endpoint.removeprefix("unix:"))
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert b"the body did not arrive within 0.4 s" in answer
    assert running.call(b"0") == b"slept"


def test_a_segfault_in_a_call(launch):
    running = launch("import ctypes\ndef Handler(req): ctypes.string_at(0)")
    with pytest.raises(errors.ReplicaLost) as caught:
        running.call()
    better = running.replica.why_lost(caught.value)
    assert "killed by SIGSEGV" in str(better)


def test_the_replica_ends_when_its_parent_is_killed(launch, tmp_path, short_dir):
    folder = launch(SLOW).folder
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import os, sys, time\n"
                "from pathlib import Path\n"
                f"sys.path.insert(0, {str(TESTS)!r})\n"
                "from process.watcher_process import Launch, WatcherProcess\n"
                "from dcf.settings import WatcherSettings\n"
                f"s = WatcherSettings(root={str(folder)!r}, lifeline=True)\n"
                "r = WatcherProcess(Launch(Path(sys.executable), s, {}, {}), os.environ)\n"
                "r.wait_ready()\n"
                "print(r.pid, flush=True)\n"
                "time.sleep(60)\n"
            ),
        ],
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    assert _is_gone(pid)


def _fails(running, body: bytes) -> None:
    with pytest.raises(errors.CallError):
        running.call(body)


def _is_gone(pid: int) -> bool:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False
