"""A stream's WebSocket over a plain socket, for one thread that sends and one that receives."""

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
"""Maximum seconds to wait for the other side to close a stream that is over."""

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SyncWebSocket:
    """One stream on a connection of its own. One thread may send while another receives.

    A thread of this object reads, up to a limit, so that pings are answered between two receives.
    The socket never blocks. Each operation on it is short and holds a lock, because an OpenSSL
    connection must not be used by two threads concurrently. Threads wait outside the lock.
    """

    def __init__(
        self,
        address: Address,
        target: str,
        headers: Iterable[tuple[str, str]],
        timeout: Timeout,
    ) -> None:
        """Connect, and open a stream.

        Args:
            address: Where a gateway or a watcher listens.
            target: Path and query.
            headers: Names and values, ``host`` among them.
            timeout: Time limits for the connect and the handshake.

        Raises:
            GatewayUnreachable: When the connect or TLS fails.
            BadRequest: When a header or the path contains characters that HTTP does not allow.
            TimeoutError: When the time is over.
            DcfError: When the other side refuses the stream; the error that it reports.
        """
        self._protocol = StreamProtocol(target, headers)
        self._items: list[Item] = []
        self._unread = 0
        self._unsent = bytearray()
        self._failure: BaseException | None = None
        self._waiting = 0
        self._is_closed = False
        self._is_broken = False
        # Reentrant: garbage collection may close another stream in a thread that holds this lock.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        try:
            self._socket = connect(address, min(timeout.left() or CONNECT_TIMEOUT, CONNECT_TIMEOUT))
        except OSError as error:
            raise unreachable(address, error) from error
        try:
            self._socket.settimeout(0)
            with self._lock:
                self._write()
            while not self._protocol.has_opened:
                self._wait_and_read(timeout)
            threading.Thread(target=self._run, name="dcf-stream-in", daemon=True).start()
        except BaseException:
            self.close()
            raise

    def send(self, message: Message) -> bool:
        """Send a message. Wait while the other side does not read.

        Returns:
            Whether the other side still accepts messages. If not, :meth:`receive` raises why.
        """
        with self._lock:
            if self._is_closed or self._is_broken or not self._protocol.send((message,)):
                return False
            self._write()
        while self._unsent and not self._is_closed:
            self._wait(select.POLLOUT, Timeout())
            with self._lock:
                self._write()
        return True

    def end(self) -> None:
        """Send the end of the messages. Replies may still arrive."""
        with self._lock:
            self._protocol.end()
            self._write()

    def receive(self, timeout: Timeout) -> list[Item]:
        """Return the replies that have arrived, at least one; an empty list at the end.

        Raises:
            DcfError: When the stream has ended with an error.
            ReplicaLost: When the connection broke.
            TimeoutError: When the time is over.
            BaseException: The exception that was passed to :meth:`fail`.
        """
        with self._lock:
            while not self._items:
                if self._failure is not None:
                    raise self._failure
                if self._protocol.is_over:
                    if self._protocol.error is not None:
                        raise self._protocol.error
                    return []
                if not self._changed.wait(timeout.left()):
                    raise TimeoutError
            items, self._items = self._items, []
            self._unread = 0
            self._changed.notify_all()
        return items

    def fail(self, failure: BaseException) -> None:
        """End the stream because sending failed; :meth:`receive` raises ``failure``."""
        with self._lock:
            self._failure = failure
            self.close()

    def close(self) -> None:
        """Close the connection at once."""
        with self._lock:
            if self._is_closed:
                return
            self._protocol.close()
            self._write()
            self._is_closed = True
            self._changed.notify_all()
            # Wakes the threads that poll the socket. The last of them closes it.
            self._shut_down()
            if not self._waiting:
                self._socket.close()

    def abandon(self) -> None:
        """Close the connection from the garbage collector.

        The collector may run in a thread that holds the lock of another stream, while the thread
        that holds this lock waits for that one. If the lock is not free in time, this method only
        shuts the socket down, and this stream's own thread does the rest.
        """
        if self._lock.acquire(timeout=LINGER):
            try:
                self.close()
            finally:
                self._lock.release()
        else:
            self._shut_down()

    def _run(self) -> None:
        """Read until the stream is over."""
        try:
            while not self._protocol.is_over:
                self._wait_and_read(Timeout())
                with self._lock:
                    while self._is_full and not (self._is_closed or self._is_broken):
                        if not self._changed.wait(ws_protocol.HEARTBEAT):
                            self._protocol.send_pong()
                            self._write()
            if self._protocol.error is None:
                self._close_normally()
        except BaseException as failure:  # noqa: BLE001  the reader's thread raises it
            self.fail(failure)
        finally:
            self.close()

    @property
    def _is_full(self) -> bool:
        """Whether enough bytes are buffered, and a complete reply is among them."""
        return self._unread >= CHUNK and bool(self._items)

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):
            # The plain socket's method: the TLS one discards state that other threads use.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _close_normally(self) -> None:
        """Send a close, and give the other side time to answer it."""
        with self._lock:
            self._protocol.close()
            self._write()
        timeout = Timeout(total=LINGER)
        with contextlib.suppress(TimeoutError):
            while not self._protocol.is_closed and not self._is_closed:
                self._wait_and_read(timeout)

    def _wait_and_read(self, timeout: Timeout) -> None:
        """Wait until bytes have arrived, if only a ping, and parse them."""
        with self._lock:
            if self._is_closed or self._read():
                return
            events = select.POLLIN | (select.POLLOUT if self._unsent else 0)
        self._wait(events, timeout)

    def _wait(self, events: int, timeout: Timeout) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._waiting += 1
        try:
            poller = select.poll()
            poller.register(self._socket, events)
            left = timeout.left()
            if not poller.poll(None if left is None else left * 1000):
                raise TimeoutError
        finally:
            with self._lock:
                self._waiting -= 1
                if self._is_closed and not self._waiting:
                    self._socket.close()

    def _write(self) -> None:
        """Send as much as the socket accepts now. The caller holds the lock."""
        self._unsent += self._protocol.data_to_send()
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent[:CHUNK])
                del self._unsent[:sent]
        except _WOULD_BLOCK:
            return
        except OSError:
            # Do not fail here: what the other side sent before must still be read.
            self._is_broken = True
            self._unsent.clear()

    def _read(self) -> bool:
        """Parse the bytes that have arrived; return whether there were any.

        The caller holds the lock.
        """
        try:
            data = self._socket.recv(CHUNK)
        except _WOULD_BLOCK:
            self._write()
            return False
        except OSError:
            data = b""
        self._items += self._protocol.feed(data)
        self._unread += len(data)
        self._write()
        self._changed.notify_all()
        return True
