"""Signals between a watcher and the process that looks after it, beside SIGTERM and SIGKILL."""

import signal

LOG_STACKS: int | None = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else None
"""Has a watcher write to its log where each of its threads is. Real-time signals have no meaning of
their own, so programs leave this one to others; None where the system has none."""
