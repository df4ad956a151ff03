"""``python tree_guard.py LIFELINE PROGRAM ARGUMENTS...``: run a program and end all it started.

The guard is the program's parent. When the program has ended or must end, the guard kills all its
descendants. On Linux orphans become the guard's children (``PR_SET_CHILD_SUBREAPER``), whatever
session, group or environment they have. On other systems the guard finds only processes whose
parents live.

The program must end when the pipe LIFELINE is closed by the last process that holds its other end,
or at SIGTERM. The guard then sends it SIGTERM, and kills all processes ``GRACE`` seconds later.

The program stays in the caller's session and process group, so that Ctrl-C reaches it and it can
ask for a password. The guard leaves both, so that killing the group does not stop the guard.

An interpreter without ``site`` runs this file by its path, and the file imports very little:
every start of the program waits for it.
"""

import os
import select
import signal
import sys
import time

GRACE = 1.0
"""Seconds from SIGTERM to SIGKILL. The output of a cancelled program is not used."""

_PAUSE = 0.02
"""Seconds between two searches for processes that a killed process has left behind."""

_PARENT_DEATH_SIGNAL, _CHILD_SUBREAPER = 1, 36
"""``PR_SET_PDEATHSIG`` and ``PR_SET_CHILD_SUBREAPER`` of ``prctl(2)``."""


def guarded(lifeline: int, command: list[str]) -> list[str]:
    """Return the command line that runs ``command`` under a guard.

    Args:
        lifeline: Descriptor of a pipe's reading end, which the guard must inherit.
        command: The program and its arguments.
    """
    return [sys.executable, "-I", "-S", __file__, str(lifeline), *command]


def _set(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  importers of this module do not need it

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


class _Guard:
    def __init__(self, lifeline: int) -> None:
        self._lifeline = lifeline
        self._asked = False
        self._codes: dict[int, int] = {}
        self._woken, waking = os.pipe()
        for end in (self._woken, waking):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        self._interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._ask)
        _set(_CHILD_SUBREAPER, 1)
        _set(_PARENT_DEATH_SIGNAL, signal.SIGTERM)

    def run(self, command: list[str]) -> int:
        """Run the program until it ends or must end; return its exit code."""
        guard = os.getpid()
        program = os.fork()
        if not program:
            self._become(command, guard)
        os.setsid()
        until = None
        while program not in self._codes:
            if self._asked and until is None:
                until = time.monotonic() + GRACE
                os.kill(program, signal.SIGTERM)
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                break
            self._wait(left)
            self._reap()
        self._kill_all()
        code = self._codes[program]
        return code if code >= 0 else 128 - code

    def _ask(self, *_: object) -> None:
        self._asked = True

    def _become(self, command: list[str], guard: int) -> None:
        """Replace the new process with the program."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            if self._interrupt is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.close(self._lifeline)
            _set(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() == guard:
                os.execvp(command[0], command)  # noqa: S606  running a program is its purpose
        except OSError as error:
            os.write(2, f"{command[0]} cannot be started: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def _wait(self, timeout: float | None) -> None:
        """Wait until a signal has come or the lifeline has ended."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if not self._asked:
            poll.register(self._lifeline, select.POLLIN)
        for descriptor, _ in poll.poll(None if timeout is None else timeout * 1000):
            if descriptor == self._lifeline:
                self._asked = True
            else:
                os.read(self._woken, 4096)

    def _reap(self) -> bool:
        """Reap the children that have ended; return whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            self._codes[pid] = os.waitstatus_to_exitcode(status)

    def _kill_all(self) -> None:
        """Kill all descendants of the program until none is left."""
        while self._reap():
            for pid in _children():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self._wait(_PAUSE)


def _children() -> list[int]:
    """Return the ids of processes to kill.

    These are the guard's children, whose ids cannot be reused before the guard reaps them. On
    systems where orphans do not become its children, they include all descendants.
    """
    tree = {os.getpid()}
    table = _process_table()
    if sys.platform == "linux":
        return [pid for pid, parent in table if parent in tree]
    size = 0
    while size < len(tree):
        size = len(tree)
        tree |= {pid for pid, parent in table if parent in tree}
    return list(tree - {os.getpid()})


def _process_table() -> list[tuple[int, int]]:
    """Return the ids of all processes and of their parents."""
    if sys.platform != "linux":
        import subprocess  # noqa: PLC0415  not needed on Linux

        listed = subprocess.run(
            ["/bin/ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False
        )
        pairs = [line.split() for line in listed.stdout.splitlines()]
        return [(int(pid), int(parent)) for pid, parent in pairs]
    table = []
    for name in os.listdir("/proc"):  # noqa: PTH208  pathlib is slow to import
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123  as above
                    # The name in brackets may contain brackets and spaces (proc_pid_stat(5)).
                    parent = file.read().rpartition(b")")[2].split()[1]
            except OSError:
                continue
            table.append((int(name), int(parent)))
    return table


if __name__ == "__main__":
    sys.exit(_Guard(int(sys.argv[1])).run(sys.argv[2:]))
