"""``ws_load.py HOST PORT PATH SIZE WINDOW SECONDS``: messages to a WebSocket that echoes them.

In a process of its own and on a bare socket, with frames that were made before, so that it takes
a small part of what any server does. It has WINDOW messages under way and counts the bytes that
come back; with a window of one it tells how long each took. Prints messages a second, and the
median of their times in microseconds.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Iterator

BLOCK = 256 * 1024
"""Bytes of frames that are sent at once, at most."""


def connect(host: str, port: int, path: str) -> socket.socket:
    """A connection whose handshake is done."""
    peer = socket.create_connection((host, port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(
        b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        % path.encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += peer.recv(1)
    if not head.startswith(b"HTTP/1.1 101 "):
        raise SystemExit(f"no WebSocket: {head!r} {peer.recv(65536)!r}")
    return peer


def masked(data: bytes) -> bytes:
    """A binary message as a client sends it."""
    mask = os.urandom(4)
    repeated = mask * (len(data) // 4 + 1)
    length = len(data)
    mixed = int.from_bytes(data) ^ int.from_bytes(repeated[:length])
    return b"\x82" + _length(length, 0x80) + mask + mixed.to_bytes(length)


def _length(size: int, mask: int) -> bytes:
    """RFC 6455, 5.2."""
    if size < 126:  # noqa: PLR2004
        return bytes((mask | size,))
    if size < 65536:  # noqa: PLR2004
        return struct.pack("!BH", mask | 126, size)
    return struct.pack("!BQ", mask | 127, size)


def pipelined(peer: socket.socket, size: int, window: int, seconds: float) -> float:
    """Messages a second with ``window`` of them under way."""
    one = masked(os.urandom(size))
    at_once = max(1, min(window // 2, BLOCK // len(one)))
    block = one * at_once
    echoed = 1 + len(_length(size, 0)) + size
    under_way = received = 0
    begin = time.perf_counter()
    while (now := time.perf_counter()) < begin + seconds:
        if under_way + at_once * echoed <= window * echoed:
            peer.sendall(block)
            under_way += at_once * echoed
            continue
        got = len(peer.recv(1 << 20))
        if not got:
            raise SystemExit("the server closed the connection")
        under_way -= got
        received += got
    return received / echoed / (now - begin)


def one_by_one(peer: socket.socket, size: int, seconds: float) -> Iterator[float]:
    """Seconds from each message to its echo."""
    one = masked(os.urandom(size))
    echoed = 1 + len(_length(size, 0)) + size
    until = time.perf_counter() + seconds
    begin = time.perf_counter()
    while begin < until:
        peer.sendall(one)
        left = echoed
        while left > 0:
            left -= len(peer.recv(left))
        end = time.perf_counter()
        yield end - begin
        begin = end


def main() -> None:
    """Drives one connection."""
    host, port, path, size, window, seconds = sys.argv[1:]
    peer = connect(host, int(port), path)
    if int(window) == 1:
        times = sorted(one_by_one(peer, int(size), float(seconds)))
        print(len(times) / sum(times), times[len(times) // 2] * 1e6)
    else:
        print(pipelined(peer, int(size), int(window), float(seconds)), 0)


if __name__ == "__main__":
    main()
