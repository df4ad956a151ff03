"""``python bound.py PROGRAM ARGUMENTS...``: becomes that program, bound to the life of its parent.

For programs that notice nothing when their parent is killed. Linux ends this process together with
its parent (``PR_SET_PDEATHSIG``, which a program of a normal user keeps when it becomes another);
elsewhere the program is merely started.

It is started by its path, by an interpreter that looks for no packages, and imports next to
nothing: every start of the program waits for it.
"""

import os
import sys

_SET_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of ``prctl(2)``."""
_KILL = 9
"""The signal: it is certain, and with its parent gone there is nobody to end in order for."""

_PARENT_GONE = 75
"""Exit code when the parent was gone before it was done (``EX_TEMPFAIL`` of BSD's sysexits.h)."""


def bound(command: list[str]) -> list[str]:
    """The command line that starts ``command`` so that it ends with the process, and the thread of
    it, that started it.
    """
    return [sys.executable, "-I", "-S", __file__, *command]


def _main() -> int:
    parent = os.getppid()
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  who imports this module does not need it

        ctypes.CDLL(None).prctl(_SET_SIGNAL, _KILL)
        if os.getppid() != parent:
            return _PARENT_GONE
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  that is what it is for
    except OSError as error:
        print(f"{sys.argv[1]} cannot be started: {error.strerror}", file=sys.stderr)  # noqa: T201  there is nothing to log with
        return 127


if __name__ == "__main__":
    sys.exit(_main())
