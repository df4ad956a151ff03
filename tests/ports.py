"""Ports for what a test starts."""

import contextlib
import random
import socket

RANGE = range(10_000, 32_000)
"""Below those that the system takes for the clients' ends of connections. What listens at a test's
port is killed and started again, and must not find a client of another test there."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    while True:
        port = random.choice(RANGE)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
