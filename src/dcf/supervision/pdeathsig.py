"""``python bound.py PROGRAM ARGUMENTS...``: become that program, and end with the parent process.

It is for programs that do not notice when their parent is killed. On Linux the kernel kills this
process together with its parent (``PR_SET_PDEATHSIG``, which an exec by a normal user keeps). On
other systems the program is only started.

An interpreter without ``site`` runs this file by its path, and the file imports very little: every
start of the program waits for it.
"""

import os
import sys

_SET_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of ``prctl(2)``."""
_KILL = 9
"""SIGKILL: it cannot be ignored, and without the parent no orderly end is needed."""

_PARENT_GONE = 75
"""Exit code if the parent ended before the signal was set (``EX_TEMPFAIL`` of BSD's sysexits.h)."""


def bound(command: list[str]) -> list[str]:
    """Return the command line that runs ``command`` so that it ends with its parent.

    It also ends if only the thread ends that has started it.
    """
    return [sys.executable, "-I", "-S", __file__, *command]


def _main() -> int:
    parent = os.getppid()
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  importers of this module do not need it

        ctypes.CDLL(None).prctl(_SET_SIGNAL, _KILL)
        if os.getppid() != parent:
            return _PARENT_GONE
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  running a program is its purpose
    except OSError as error:
        print(f"{sys.argv[1]} cannot be started: {error.strerror}", file=sys.stderr)  # noqa: T201  there is nothing to log with
        return 127


if __name__ == "__main__":
    sys.exit(_main())
