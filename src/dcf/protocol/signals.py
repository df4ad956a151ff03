"""Signals that a watcher's engine sends to it, besides SIGTERM and SIGKILL."""

import signal

LOG_STACKS: int | None = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else None
"""Makes a watcher log the stack of each of its threads. Programs rarely use real-time signals,
because they have no predefined meaning. None if the system has no such signals."""
