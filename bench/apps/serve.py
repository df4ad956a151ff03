"""``serve.py KIND PORT``: a bare echo on an HTTP server, with the least code that each allows.
``serve.py uvicorn-unix PATH`` listens on a Unix socket.

Each echo reads the whole body and sends it back with its length. It imports only what the chosen
server needs, so that the memory of the process is that of the server.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from typing import Any

HOST = "127.0.0.1"
LIMIT = 1024**3
Message = MutableMapping[str, Any]


async def asgi(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Echo in ASGI."""
    if scope["type"] != "http":
        return
    parts: list[bytes] = []
    message = await receive()
    while message.get("more_body"):
        parts.append(message["body"])
        message = await receive()
    last = message["body"]
    body = b"".join((*parts, last)) if parts else last
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def rsgi(scope: Any, protocol: Any) -> None:  # noqa: ARG001  granian's signature
    """Echo in RSGI, granian's own interface, which sets the length itself."""
    body = await protocol()
    protocol.response_bytes(200, [("content-type", "application/octet-stream")], body)


async def asgi_stream(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Echo each message of a WebSocket, and each body."""
    if scope["type"] != "websocket":
        await asgi(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


def uvicorn_websocket(port: int) -> None:
    """Run uvicorn on the WebSocket library of the watcher, with the watcher's settings."""
    quiet = {"access_log": False, "log_level": "warning", "lifespan": "off", "backlog": 2048}
    bare = {"http": "httptools", "loop": "uvloop", "ws": "websockets-sansio"}
    import_module("uvicorn").run(
        asgi_stream, host=HOST, port=port, ws_per_message_deflate=False, **quiet, **bare
    )


def uvicorn(port: int, **settings: Any) -> None:
    """Run uvicorn with the watcher's settings, unless others are given."""
    quiet = {"access_log": False, "server_header": False, "date_header": False, "lifespan": "off"}
    quiet |= {"log_level": "warning", "ws": "none", "proxy_headers": False, "backlog": 2048}
    import_module("uvicorn").run(asgi, host=HOST, port=port, **{**quiet, **settings})


def uvicorn_httptools(port: int) -> None:
    """Run the watcher's server without the watcher's change of its writes."""
    uvicorn(port, http="httptools", loop="uvloop")


def uvicorn_unix(path: str) -> None:
    """Run the same server on a Unix socket, as the watcher listens behind a gateway."""
    uvicorn(0, uds=path, http="httptools", loop="uvloop")


def uvicorn_h11(port: int) -> None:
    """Run uvicorn without any code in C."""
    uvicorn(port, http="h11", loop="asyncio")


def uvicorn_run(port: int) -> None:
    """Run uvicorn with its defaults, except for the access log."""
    import_module("uvicorn").run(asgi, host=HOST, port=port, access_log=False)


def hypercorn(port: int) -> None:
    """Run hypercorn in one process, on uvloop."""
    config = import_module("hypercorn.config").Config()
    config.bind = [f"{HOST}:{port}"]
    config.include_date_header = config.include_server_header = False
    config.accesslog = None
    serve = import_module("hypercorn.asyncio").serve
    import_module("uvloop").run(serve(asgi, config))


def granian(port: int, interface: str, app: Any) -> None:
    """Run granian embedded in this process and this loop, as the watcher would need it."""
    embed = import_module("granian.server.embed")
    kind = import_module("granian.constants").Interfaces(interface)
    server = embed.Server(app, HOST, port, interface=kind, log_enabled=False, backlog=2048)
    import_module("uvloop").run(server.serve())


def granian_worker(port: int) -> None:
    """Run granian with its defaults: a parent and one worker, ASGI."""
    kind = import_module("granian.constants").Interfaces.ASGI
    server = import_module("granian").Granian(
        "serve:asgi", HOST, port, interface=kind, workers=1, log_enabled=False, backlog=2048
    )
    server.serve()


def aiohttp(port: int) -> None:
    """Run aiohttp.web with one route, on uvloop."""
    web = import_module("aiohttp.web")

    async def echo(request: Any) -> Any:
        return web.Response(body=await request.read(), content_type="application/octet-stream")

    app = web.Application(client_max_size=LIMIT)
    app.router.add_post("/", echo)
    loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
    web.run_app(app, host=HOST, port=port, access_log=None, print=None, loop=loop, backlog=2048)


KINDS: dict[str, Callable[[int], None]] = {
    "uvicorn": uvicorn_httptools,
    "uvicorn-h11": uvicorn_h11,
    "uvicorn-run": uvicorn_run,
    "uvicorn-websocket": uvicorn_websocket,
    "hypercorn": hypercorn,
    "granian-asgi": lambda port: granian(port, "asgi", asgi),
    "granian-rsgi": lambda port: granian(port, "rsgi", rsgi),
    "granian-worker": granian_worker,
    "aiohttp": aiohttp,
}

if __name__ == "__main__":
    if sys.argv[1] == "uvicorn-unix":
        uvicorn_unix(sys.argv[2])
    else:
        KINDS[sys.argv[1]](int(sys.argv[2]))
