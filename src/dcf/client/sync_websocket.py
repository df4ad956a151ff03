"""A stream's connection over a plain socket, for a thread that sends and one that receives."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterable

from dcf.client import ws_protocol
from dcf.client.address import Address
from dcf.client.http11 import CHUNK
from dcf.client.network import CONNECT_TIMEOUT, unreachable
from dcf.client.sync_network import connect
from dcf.client.timeout import Timeout
from dcf.client.ws_protocol import Item, Message, StreamProtocol

LINGER = 1.0
"""Seconds that the other side has to close what is over."""

_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""The socket cannot do that now."""


class SyncWebSocket:
    """One stream on a connection of its own. A thread may send while another one receives.

    What comes is read by a thread of this object's, up to a bound, so that a ping is answered while
    nobody receives. The socket never blocks: each touch of it is short and under a lock (OpenSSL
    bears no two threads at once), and whoever must wait does so beside it.
    """

    def __init__(
        self,
        address: Address,
        target: str,
        headers: Iterable[tuple[str, str]],
        timeout: Timeout,
    ) -> None:
        """Connects, and begins a stream.

        Args:
            address: Where a gateway or a watcher listens.
            target: Path and query.
            headers: Names and values, ``host`` among them.
            timeout: How long that may take.

        Raises:
            GatewayUnreachable: When nobody answers, or TLS fails.
            BadRequest: When a header or the path has what HTTP does not allow.
            TimeoutError: When the time is up.
            DcfError: Why there is no stream, as the other side tells.
        """
        self._exchange = StreamProtocol(target, headers)
        self._items: list[Item] = []
        self._unread = 0
        self._unsent = bytearray()
        self._failure: BaseException | None = None
        self._waiting = 0
        self._closed = False
        self._broken = False
        # Taken again by its holder: a collector of garbage may close another thread's stream here.
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        try:
            self._socket = connect(address, min(timeout.left() or CONNECT_TIMEOUT, CONNECT_TIMEOUT))
        except OSError as error:
            raise unreachable(address, error) from error
        try:
            self._socket.settimeout(0)
            with self._lock:
                self._push()
            while not self._exchange.opened:
                self._take(timeout)
            threading.Thread(target=self._run, name="dcf-stream-in", daemon=True).start()
        except BaseException:
            self.close()
            raise

    def send(self, message: Message) -> bool:
        """Sends a message; waits while the other side takes nothing.

        Returns:
            Whether somebody takes it. Why nobody does is told by :meth:`receive`.
        """
        with self._lock:
            if self._closed or self._broken or not self._exchange.put((message,)):
                return False
            self._push()
        while self._unsent and not self._closed:
            self._wait(select.POLLOUT, Timeout())
            with self._lock:
                self._push()
        return True

    def end(self) -> None:
        """Says that no further messages are sent; replies may go on coming."""
        with self._lock:
            self._exchange.end()
            self._push()

    def receive(self, timeout: Timeout) -> list[Item]:
        """The replies that have come since, at least one; none at the end.

        Raises:
            DcfError: Why the stream has ended.
            ReplicaLost: When the connection broke.
            TimeoutError: When the time is up.
            BaseException: What :meth:`fail` was told.
        """
        with self._lock:
            while not self._items:
                if self._failure is not None:
                    raise self._failure
                if self._exchange.over:
                    if self._exchange.error is not None:
                        raise self._exchange.error
                    return []
                if not self._news.wait(timeout.left()):
                    raise TimeoutError
            items, self._items = self._items, []
            self._unread = 0
            self._news.notify_all()
        return items

    def fail(self, failure: BaseException) -> None:
        """Ends the stream from the sender's side; :meth:`receive` raises ``failure``."""
        with self._lock:
            self._failure = failure
            self.close()

    def close(self) -> None:
        """Ends the connection at once."""
        with self._lock:
            if self._closed:
                return
            self._exchange.leave()
            self._push()
            self._closed = True
            self._news.notify_all()
            # Wakes who waits; the last of them closes it.
            self._cut()
            if not self._waiting:
                self._socket.close()

    def abandon(self) -> None:
        """As :meth:`close`, for a collector of garbage.

        That runs anywhere, and so where the lock of another stream is held whose holder may just
        be here: whoever does not get this one's lock leaves the rest to its thread.
        """
        if self._lock.acquire(timeout=LINGER):
            try:
                self.close()
            finally:
                self._lock.release()
        else:
            self._cut()

    def _run(self) -> None:
        """Reads until the stream is over."""
        try:
            while not self._exchange.over:
                self._take(Timeout())
                with self._lock:
                    while self._is_full and not (self._closed or self._broken):
                        if not self._news.wait(ws_protocol.HEARTBEAT):
                            self._exchange.live()
                            self._push()
            if self._exchange.error is None:
                self._part()
        except BaseException as failure:  # noqa: BLE001  the reader's thread raises it
            self.fail(failure)
        finally:
            self.close()

    @property
    def _is_full(self) -> bool:
        """Whether enough is here, some of it whole."""
        return self._unread >= CHUNK and bool(self._items)

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            # Not TLS's own, which would take its state away from under other threads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _part(self) -> None:
        """Gives the other side time to close what is over."""
        with self._lock:
            self._exchange.leave()
            self._push()
        timeout = Timeout(total=LINGER)
        with contextlib.suppress(TimeoutError):
            while not self._exchange.closed and not self._closed:
                self._take(timeout)

    def _take(self, timeout: Timeout) -> None:
        """Waits until something has come, be it only a ping, and takes it."""
        with self._lock:
            if self._closed or self._pull():
                return
            events = select.POLLIN | (select.POLLOUT if self._unsent else 0)
        self._wait(events, timeout)

    def _wait(self, events: int, timeout: Timeout) -> None:
        with self._lock:
            if self._closed:
                return
            self._waiting += 1
        try:
            waiter = select.poll()
            waiter.register(self._socket, events)
            left = timeout.left()
            if not waiter.poll(None if left is None else left * 1000):
                raise TimeoutError
        finally:
            with self._lock:
                self._waiting -= 1
                if self._closed and not self._waiting:
                    self._socket.close()

    def _push(self) -> None:
        """Sends as much as can be sent now. With the lock."""
        self._unsent += self._exchange.outgoing()
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent[:CHUNK])
                del self._unsent[:sent]
        except _LATER:
            return
        except OSError:
            # What the other side has said before that is still to be read.
            self._broken = True
            self._unsent.clear()

    def _pull(self) -> bool:
        """Takes what is there, and returns whether there was something. With the lock."""
        try:
            data = self._socket.recv(CHUNK)
        except _LATER:
            self._push()
            return False
        except OSError:
            data = b""
        self._items += self._exchange.feed(data)
        self._unread += len(data)
        self._push()
        self._news.notify_all()
        return True
