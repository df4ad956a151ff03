"""A server that does as a test says, on a real socket, and both faces of the client."""

import asyncio
import contextlib
import json
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import h11

from dcf.client.async_gateway import AsyncClient
from dcf.client.gateway import Client
from dcf.errors import DcfError
from dcf.protocol.http import PROBLEM
from dcf.protocol.problem import to_problem
from dcf.protocol.status_codes import status_of


@dataclass
class Received:
    """A request as the server got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def json(self):
        return json.loads(self.body)


class Peer:
    """The server's end of one connection."""

    def __init__(self, connected: socket.socket, released: threading.Event) -> None:
        self.socket = connected
        self.released = released
        self._http = h11.Connection(h11.SERVER)

    def request(self, *, whole: bool = True) -> Received:
        """Reads a request, its body included unless ``whole`` is False."""
        if self._http.our_state is not h11.IDLE:
            self._http = h11.Connection(h11.SERVER)
        head = self._event()
        assert isinstance(head, h11.Request)
        headers = {name.decode(): value.decode() for name, value in head.headers}
        parts = []
        while whole and isinstance(event := self._event(), h11.Data):
            parts.append(bytes(event.data))
        return Received(head.method.decode(), head.target.decode(), headers, b"".join(parts))

    def reply(self, body: bytes = b"", status: int = 200, kind: str = "application/json") -> None:
        """Sends a whole reply."""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)
        self._http = h11.Connection(h11.SERVER)

    def refuse(self, error: DcfError) -> None:
        """Sends an error as a gateway does."""
        self.reply(to_problem(error), status_of(type(error)).http, PROBLEM)

    def stream(self, *lines: bytes) -> None:
        """Sends the beginning of a reply in chunks."""
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for line in lines:
            self.chunk(line)

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def stall(self) -> None:
        """Does nothing until the test is over."""
        self.released.wait()

    def wait_for_end(self) -> None:
        """Waits until the client has closed its end."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass

    def reset(self) -> None:
        """Breaks the connection off, as a killed process's kernel does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _event(self):
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = self.socket.recv(65536)
            self._http.receive_data(data)
        return event


Conversation = Callable[[Peer], object]


@dataclass
class Scripted:
    """Serves one connection after the other, each as the next conversation says."""

    listener: socket.socket
    url: str
    conversations: Sequence[Conversation] = ()
    failures: list[BaseException] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    happened: queue.SimpleQueue[object] = field(default_factory=queue.SimpleQueue)

    def play(self, *conversations: Conversation) -> None:
        self.conversations = conversations
        self.thread = threading.Thread(target=self._serve, name="scripted")
        self.thread.start()

    def _serve(self) -> None:
        for conversation in self.conversations:
            try:
                connected, _ = self.listener.accept()
            except OSError as error:
                self.failures.append(AssertionError(f"a connection was expected: {error}"))
                return
            with connected:
                connected.settimeout(20)
                try:
                    conversation(Peer(connected, self.released))
                except BaseException as error:  # noqa: BLE001  told to the test
                    self.failures.append(error)

    def close(self) -> None:
        self.released.set()
        if self.conversations:
            self.thread.join()
        self.listener.close()
        assert self.failures == []


def scripted(listener: socket.socket, url: str) -> Iterator[Scripted]:
    listener.listen()
    listener.settimeout(5)
    server = Scripted(listener, url)
    yield server
    server.close()


class Awaited:
    """An AsyncClient that is used as if it were plain."""

    def __init__(self, *args, **kwargs) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*args, **kwargs)

    def __enter__(self):
        return self

    def __exit__(self, *_exception) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __getattr__(self, name):
        member = getattr(self._client, name)
        if not callable(member):
            return member
        return lambda *args, **kwargs: self.run(member, *args, **kwargs)

    def run(self, member, *args, **kwargs):
        result = member(*args, **kwargs)
        if hasattr(result, "__anext__"):
            return self._drained(result)
        return self._runner.run(result)

    def notice(self) -> None:
        """Lets the loop see what has come from the network."""
        self._runner.run(asyncio.sleep(0.01))

    def open(self, *args, **kwargs):
        return AwaitedAnswer(self._runner, self._runner.run(self._client.open(*args, **kwargs)))

    def stream(self, *args, **kwargs):
        made = self._client.stream(*args, **kwargs)
        stream = AwaitedStream(self._runner, made)
        stream.start()
        return stream

    def _drained(self, values):
        try:
            while True:
                try:
                    yield self._runner.run(anext(values))
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(values.aclose())


class AwaitedAnswer:
    def __init__(self, runner, answer) -> None:
        self._runner = runner
        self._answer = answer
        self.status = answer.status
        self.headers = answer.headers

    def __enter__(self):
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def close(self) -> None:
        async def close():
            await self._answer.close()
            await asyncio.sleep(0)

        self._runner.run(close())

    def read(self):
        return self._runner.run(self._answer.read())

    @property
    def chunks(self):
        async def following():
            return await anext(self._answer.chunks, None)

        while (chunk := self._runner.run(following())) is not None:
            yield chunk


class AwaitedStream:
    """An AsyncStream that is used as if it were plain, and as eager."""

    def __init__(self, runner, stream) -> None:
        self._runner = runner
        self._stream = stream

    def start(self) -> None:
        self._runner.run(self._stream.__aenter__())

    def __enter__(self):
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self._runner.run(anext(self._stream))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        self._runner.run(self._stream.close())


FACES = {"plain": Client, "async": Awaited}
