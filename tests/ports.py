"""Free ports for the servers that tests start."""

import contextlib
import random
import socket

RANGE = range(10_000, 32_000)
"""Below the ephemeral ports. A test may kill its server and start it again on the same port; meanwhile
no client of another test may get that port."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    while True:
        port = random.choice(RANGE)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
