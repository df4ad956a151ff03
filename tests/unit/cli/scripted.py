"""A gateway that answers what a test tells it to, over real sockets."""

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
    """A body in parts is sent chunk by chunk; one that raises breaks the connection."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Script = Reply | Callable[[Asked], Reply]


class Scripted:
    """What it answers, by method and path; several answers to one are given one after the other,
    and the last one again and again.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._scripts: dict[tuple[str, str], list[Script]] = {}
        self.url = ""
        self.answer("GET", "/system/info", members_of(GatewayInfo("1", 0, 0, 0.0)))

    def answer(self, method: str, path: str, *found: Any) -> None:
        """Each is a reply, a function that makes one, an error, or what becomes JSON."""
        self._scripts[method, path] = [_script(one) for one in found]

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        scripts = self._scripts.get((asked.method, asked.target.partition("?")[0]))
        if scripts is None:
            return Reply(b"{}", 404)
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return script if isinstance(script, Reply) else script(asked)


def _script(found: Any) -> Script:
    if isinstance(found, DcfError):
        return Reply(to_problem(found), status_of(type(found)).http, PROBLEM)
    if isinstance(found, Reply):
        return found
    if callable(found):
        script: Script = found
        return script
    return Reply(json.dumps(found).encode())


def status(name: str, **more: Any) -> dict[str, Any]:
    """A function that is deployed and ready, as a gateway tells it."""
    given = {
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
    return members_of(FunctionStatus(name, **given))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scripted: Scripted

    def answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, b"".join(self._body(headers)))
        reply = self.scripted.reply(asked)
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
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no error here."""


@contextlib.contextmanager
def scripted() -> Iterator[Scripted]:
    """A gateway on a free port."""
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
