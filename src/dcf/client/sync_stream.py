"""Streams of the plain client: messages go out of a thread of their own while replies are read."""

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
"""Is told the error of one message, in the place of whose reply it came."""


class Stream:
    """The replies of one stream, an iterator; and a context manager, which ends it.

    ``next`` raises what ends the stream: an error that the other side told, with the traceback
    from there; ReplicaLost when the connection broke; DeadlineExceeded when the time was up; and
    what the iterable of the messages raised. An error of one message alone is raised in the place
    of its reply, unless there is a callback for such errors, and the iterator goes on after it.

    A stream that is left early, by ``break`` or an exception, ends with its last reference;
    ``with`` or :meth:`close` ends it at a place of one's own.
    """

    def __init__(
        self,
        connection: SyncWebSocket,
        messages: Iterable[Part],
        timeout: Timeout,
        on_error: OnError | None = None,
    ) -> None:
        """Begins to send.

        Args:
            connection: A stream that has been begun; this object closes it.
            messages: What is sent, as it comes, from another thread. That thread ends with the
                stream; where it waits for the next message then, once that has come.
            timeout: How long a reply is waited for.
            on_error: Is told the error of one message, instead of ``next`` raising it.
        """
        self._connection = connection
        self._timeout = timeout
        self._on_error = on_error
        self._items: deque[Item] = deque()
        self._is_over = False
        # No reference to this object: what nobody reads must end.
        run = contextvars.copy_context().run
        given = (_send, connection, messages)
        threading.Thread(target=run, args=given, name="dcf-stream", daemon=True).start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while True:
            item = self._items.popleft() if self._items else self._next()
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
        """Ends the stream; the function is told that nobody reads any more. More than once is
        fine.
        """
        self._is_over = True
        self._items.clear()
        self._connection.close()

    def _next(self) -> Item:
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
            # Not closed here: the connection gives the other side time to do so.
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
