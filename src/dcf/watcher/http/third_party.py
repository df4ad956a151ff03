"""All names of uvicorn and websockets that the watcher uses, private ones included.

No other module of the watcher imports these packages. uvicorn's protocol and server are subclassed,
so a new version can break them. If the installed version lacks a name, the import of this module
fails with a sentence that names the supported versions. The extra ``runtime`` in pyproject.toml has
the same bounds.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from dcf.errors import StartError

SUPPORTED = {"uvicorn": ("0.30", "0.54"), "websockets": ("13", "17")}
"""The lowest and the highest supported version of each package. The tests pass with both."""

_USED = {
    "HttpToolsProtocol": (
        "_should_upgrade", "connection_lost", "on_body", "on_header", "on_message_complete",
        "on_response_complete", "on_url", "pause_writing", "resume_writing", "send_400_response",
        "shutdown", "timeout_keep_alive_handler",
    ),
    "RequestResponseCycle": ("receive", "run_asgi", "send"),
    "Server": ("capture_signals", "serve", "startup"),
}  # fmt: skip
"""Methods that the watcher overrides or calls."""


def unsupported(package: str) -> StartError:
    """Return the error that the installed version of ``package`` cannot be used."""
    lowest, highest = SUPPORTED[package]
    try:
        installed = f"{package} {version(package)} is not supported"
    except PackageNotFoundError:
        installed = f"{package} is not installed"
    return StartError(
        f"{installed}, expected {lowest} to {highest}; pin a supported version in requirements.txt"
    )


def require(package: str, *kinds: type) -> None:
    """Check that the classes of ``package`` have the methods that the watcher uses.

    Raises:
        StartError: If a method is missing.
    """
    for kind in kinds:
        if not all(hasattr(kind, name) for name in _USED[kind.__name__]):
            raise unsupported(package)


try:
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import (
        STATUS_LINE,
        HttpToolsProtocol,
        RequestResponseCycle,
    )
    from uvicorn.server import Server, ServerState
except ImportError as error:
    if not (error.name or "").startswith("uvicorn"):
        raise  # a dependency of uvicorn
    raise unsupported("uvicorn") from error
require("uvicorn", HttpToolsProtocol, RequestResponseCycle, Server)

try:
    from websockets.exceptions import PayloadTooBig
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Request, Response
    from websockets.protocol import State
    from websockets.server import ServerProtocol

    try:
        from websockets.speedups import apply_mask
    except ImportError:  # no compiled module for this platform
        from websockets.utils import apply_mask
except ImportError as error:
    raise unsupported("websockets") from error

__all__ = [
    "STATUS_LINE", "Config", "Frame", "HttpToolsProtocol", "Opcode", "PayloadTooBig", "Request",
    "RequestResponseCycle", "Response", "Server", "ServerProtocol", "ServerState", "State",
    "apply_mask",
]  # fmt: skip
