"""Streams of the sync client: a thread sends messages while replies are read."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Self

from dcf.client.payload import Part, message_of
from dcf.client.sync_websocket import SyncWebSocket
from dcf.client.timeout import Timeout
from dcf.client.ws_protocol import Item
from dcf.errors import DcfError

OnError = Callable[[DcfError], object]
"""Called with the error of a single message, in place of its reply."""


class Stream:
    """The replies of one stream: an iterator, and a context manager that ends the stream.

    ``next`` raises what ends the stream: an error that the other side reports, with its traceback;
    ReplicaLost when the connection broke; DeadlineExceeded when the time is over; and any exception
    of the iterable of messages. The error of a single message is raised in place of its reply,
    unless there is a callback for such errors, and the iterator continues after it.

    A stream that is left early, by ``break`` or an exception, ends with its last reference. Use
    ``with`` or :meth:`close` to end it at a certain point.
    """

    def __init__(
        self,
        connection: SyncWebSocket,
        messages: Iterable[Part],
        timeout: Timeout,
        on_error: OnError | None = None,
    ) -> None:
        """Start to send.

        Args:
            connection: An open stream. This object closes it.
            messages: Sent as they are produced, from another thread. That thread ends with the
                stream; if it waits for the next message at that time, it ends once it has that.
            timeout: Time limits for a reply.
            on_error: Called with the error of a single message, instead of raising it.
        """
        self._connection = connection
        self._timeout = timeout
        self._on_error = on_error
        self._items: deque[Item] = deque()
        self._is_over = False
        # The thread must not refer to this object: the last reference of a reader ends the stream.
        run = contextvars.copy_context().run
        args = (_send, connection, messages)
        threading.Thread(target=run, args=args, name="dcf-stream", daemon=True).start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while True:
            item = self._items.popleft() if self._items else self._receive()
            if isinstance(item, bytes):
                return item
            if self._on_error is None:
                raise item.error
            self._on_error(item.error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._connection.abandon()

    def close(self) -> None:
        """End the stream. The function is notified. Further calls have no effect."""
        self._is_over = True
        self._items.clear()
        self._connection.close()

    def _receive(self) -> Item:
        if self._is_over:
            raise StopIteration
        try:
            self._items.extend(self._connection.receive(self._timeout))
        except TimeoutError:
            self.close()
            raise self._timeout.error() from None
        except BaseException:
            self.close()
            raise
        if not self._items:
            # Do not close here: the connection performs the closing handshake.
            self._is_over = True
            raise StopIteration
        return self._items.popleft()


def _send(connection: SyncWebSocket, messages: Iterable[Part]) -> None:
    try:
        for message in messages:
            if not connection.send(message_of(message)):
                return
        connection.end()
    except BaseException as failure:  # noqa: BLE001  the reader's thread raises it
        connection.fail(failure)
