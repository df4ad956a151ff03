"""DCF, the Digital Companion Framework.

What an author imports::

    from dcf import Reply, Request

Names are loaded when they are first used, so that ``import dcf`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcf.function.reply import Reply as Reply
    from dcf.function.request import Request as Request
    from dcf.function.secrets import secret as secret
    from dcf.version import __version__ as __version__

_HOMES = {
    "Reply": "dcf.function.reply",
    "Request": "dcf.function.request",
    "__version__": "dcf.version",
    "secret": "dcf.function.secrets",
}

__all__ = ["Reply", "Request", "__version__", "secret"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dcf' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
