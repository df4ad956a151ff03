"""DCF, the Digital Companion Framework.

Authors of functions import from here::

    from dcf import Reply, Request

Each name is loaded on first use, so that ``import dcf`` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcf import errors as errors
    from dcf.builder.package import build as build
    from dcf.client.async_client import AsyncClient as AsyncClient
    from dcf.client.client import Client as Client
    from dcf.errors import BadRequest as BadRequest
    from dcf.function.calls import call as call
    from dcf.function.calls import call_async as call_async
    from dcf.function.calls import stream as stream
    from dcf.function.calls import stream_async as stream_async
    from dcf.function.reply import Reply as Reply
    from dcf.function.request import Request as Request
    from dcf.function.secrets import secret as secret
    from dcf.version import __version__ as __version__

_HOMES = {
    "AsyncClient": "dcf.client.async_client",
    "BadRequest": "dcf.errors",
    "Client": "dcf.client.client",
    "Reply": "dcf.function.reply",
    "Request": "dcf.function.request",
    "__version__": "dcf.version",
    "build": "dcf.builder.package",
    "call": "dcf.function.calls",
    "call_async": "dcf.function.calls",
    "secret": "dcf.function.secrets",
    "stream": "dcf.function.calls",
    "stream_async": "dcf.function.calls",
}

# `build` is missing, because a function's environment does not contain it.
__all__ = [
    "AsyncClient",
    "BadRequest",
    "Client",
    "Reply",
    "Request",
    "__version__",
    "call",
    "call_async",
    "errors",
    "secret",
    "stream",
    "stream_async",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("dcf.errors")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dcf' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
