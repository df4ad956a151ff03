"""A watcher that handles every call through ASGI."""

from __future__ import annotations

import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dcf.watcher import host
from dcf.watcher.__main__ import main


def _protocol(*args: Any, **kwargs: Any) -> HttpToolsProtocol:
    del kwargs["app"]  # for the direct way
    return HttpToolsProtocol(*args, **kwargs)


vars(host)["HttpProtocol"] = _protocol

if __name__ == "__main__":
    sys.exit(main())
