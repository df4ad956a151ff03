"""Exit codes of a watcher."""

from enum import IntEnum


class WatcherExit(IntEnum):
    """Exit codes of a watcher. A negative code means that a signal killed it."""

    DRAINED = 0
    """It was asked to stop, and finished its calls."""
    SETTINGS = 64
    """A setting is invalid (64 to 78 as in BSD's sysexits.h)."""
    HANDLER = 70
    """The handler could not be started. The reason was reported."""
    CONFINEMENT = 71
    """Its limits could not be enforced. The reason was reported."""
    ADDRESS = 73
    """It could not listen on its address."""
    LOST = 74
    """The thread or event loop of the handler or the server ended. The reason was reported."""
    STUCK = 75
    """A handler ran longer than its deadline plus the grace. A restart may help."""
