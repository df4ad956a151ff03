"""Clients on this machine that appear to a gateway as clients of another machine."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest


def address() -> str:
    """Return an address of this machine other than loopback; skip the test if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address besides loopback")
        return str(probe.getsockname()[0])


@contextlib.contextmanager
def relay(port: int) -> Iterator[int]:
    """Yield a loopback port that forwards connections to ``port``, from :func:`address`."""
    source = address()
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def copy(reading: socket.socket, writing: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := reading.recv(65536):
                writing.sendall(data)
        for end in (reading, writing):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
                sockets.extend((near, far))
                for ends in ((near, far), (far, near)):
                    threads.append(threading.Thread(target=copy, args=ends))
                    threads[-1].start()

    listener = socket.create_server(("127.0.0.1", 0))
    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for end in sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for end in sockets:
            end.close()
