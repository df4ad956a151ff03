"""A gateway with scripted replies, over real sockets."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dcf.errors import DcfError
from dcf.model.status import FunctionState, FunctionStatus, GatewayInfo
from dcf.protocol.gateway import members_of
from dcf.protocol.http import JSON, PROBLEM
from dcf.protocol.problem import to_problem
from dcf.protocol.status_codes import status_of


@dataclass(frozen=True)
class Asked:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def members(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """A reply. A body in parts is sent chunk by chunk; a body that raises breaks the connection."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Script = Reply | Callable[[Asked], Reply]


class Scripted:
    """Replies by method and path. Several replies to a path are given one after another, and the last is
    repeated.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._scripts: dict[tuple[str, str], list[Script]] = {}
        self.url = ""
        self.answer("GET", "/system/info", members_of(GatewayInfo("1", 0, 0, 0.0)))

    def answer(self, method: str, path: str, *replies: Any) -> None:
        """Add replies. Each is a reply, a function that makes a reply, an error, or a value for
        JSON."""
        self._scripts[method, path] = [_script(reply) for reply in replies]

    def reply(self, request: Asked) -> Reply:
        self.asked.append(request)
        scripts = self._scripts.get((request.method, request.target.partition("?")[0]))
        if scripts is None:
            return Reply(b"{}", 404)
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return script if isinstance(script, Reply) else script(request)


def _script(value: Any) -> Script:
    if isinstance(value, DcfError):
        return Reply(to_problem(value), status_of(type(value)).http, PROBLEM)
    if isinstance(value, Reply):
        return value
    if callable(value):
        script: Script = value
        return script
    return Reply(json.dumps(value).encode())


def status(name: str, **more: Any) -> dict[str, Any]:
    """Return a function that is deployed and ready, in a gateway's JSON."""
    members = {
        "artifact": f"sha256:{'a' * 64}",
        "revision": 1,
        "serving": 1,
        "takes_calls": True,
        "state": FunctionState.READY,
        "invocations": 0,
        "replicas": 1,
        "ready": 1,
        "minimum": 1,
        "maximum": 1,
        **more,
    }
    return members_of(FunctionStatus(name, **members))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scripted: Scripted

    def answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Asked(self.command, self.path, headers, b"".join(self._body(headers)))
        reply = self.scripted.reply(request)
        self.send_response(reply.status)
        framing = ("transfer-encoding", "chunked")
        if isinstance(reply.body, bytes):
            framing = ("content-length", str(len(reply.body)))
        for name, value in ({"content-type": reply.media_type, **reply.headers}).items():
            self.send_header(name, value)
        self.send_header(*framing)
        self.end_headers()
        if isinstance(reply.body, bytes):
            self.wfile.write(reply.body)
            return
        try:
            for part in reply.body:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  the server's names

    def _body(self, headers: Mapping[str, str]) -> Iterator[bytes]:
        if headers.get("transfer-encoding") != "chunked":
            yield self.rfile.read(int(headers.get("content-length", 0)))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002  the server's name
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, *_: object) -> None:
        """Ignore a client that disconnects."""


@contextlib.contextmanager
def scripted() -> Iterator[Scripted]:
    """Run a gateway on a free port."""
    gateway = Scripted()
    handler = type("Handler", (_Handler,), {"scripted": gateway, "timeout": 5})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        gateway.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()
