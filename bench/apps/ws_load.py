"""``ws_load.py HOST PORT PATH SIZE WINDOW SECONDS``: loads a WebSocket that echoes messages.

It is a separate process on a bare socket, with frames that are made in advance, so that it needs
much less time than any server. It keeps WINDOW messages in flight and counts the bytes that come
back; with a window of one it measures the duration of each. It prints messages per second, and the
median of the durations in microseconds.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Iterator

BLOCK = 256 * 1024
"""Maximum bytes of frames in a single write."""


def connect(host: str, port: int, path: str) -> socket.socket:
    """Open a connection and complete its handshake."""
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
    """Encode a binary message as a client sends it."""
    mask = os.urandom(4)
    repeated = mask * (len(data) // 4 + 1)
    length = len(data)
    mixed = int.from_bytes(data) ^ int.from_bytes(repeated[:length])
    return b"\x82" + _length(length, 0x80) + mask + mixed.to_bytes(length)


def _length(size: int, mask: int) -> bytes:
    """Encode the length of a frame (RFC 6455, 5.2)."""
    if size < 126:  # noqa: PLR2004
        return bytes((mask | size,))
    if size < 65536:  # noqa: PLR2004
        return struct.pack("!BH", mask | 126, size)
    return struct.pack("!BQ", mask | 127, size)


def pipelined(peer: socket.socket, size: int, window: int, seconds: float) -> float:
    """Return messages per second with ``window`` messages in flight."""
    message = masked(os.urandom(size))
    at_once = max(1, min(window // 2, BLOCK // len(message)))
    block = message * at_once
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
    """Yield the seconds from each message to its echo."""
    message = masked(os.urandom(size))
    echoed = 1 + len(_length(size, 0)) + size
    until = time.perf_counter() + seconds
    begin = time.perf_counter()
    while begin < until:
        peer.sendall(message)
        left = echoed
        while left > 0:
            left -= len(peer.recv(left))
        end = time.perf_counter()
        yield end - begin
        begin = end


def main() -> None:
    """Load one connection."""
    host, port, path, size, window, seconds = sys.argv[1:]
    peer = connect(host, int(port), path)
    if int(window) == 1:
        times = sorted(one_by_one(peer, int(size), float(seconds)))
        print(len(times) / sum(times), times[len(times) // 2] * 1e6)
    else:
        print(pipelined(peer, int(size), int(window), float(seconds)), 0)


if __name__ == "__main__":
    main()
