"""Exit codes of a watcher."""

from enum import IntEnum


class WatcherExit(IntEnum):
    """Why a watcher ended by itself. A negative code is a signal that killed it."""

    DRAINED = 0
    """Asked to end, finished its calls, ended."""
    SETTINGS = 64
    """Its settings do not fit (64 to 78 as in BSD's sysexits.h)."""
    HANDLER = 70
    """The handler could not be started; the reason was reported."""
    CONFINEMENT = 71
    """It could not be held to its limits; the reason was reported."""
    ADDRESS = 73
    """It could not listen where it was told to."""
    LOST = 74
    """The thread or event loop of the handler or the server ended; the reason was reported."""
    STUCK = 75
    """A handler went on past its deadline and the grace after it; another start is worth a try."""
