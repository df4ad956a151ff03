"""``fastapi_echo.py PORT``: the echo in FastAPI's usual style, on uvicorn."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

fastapi = import_module("fastapi")
app = fastapi.FastAPI()


async def echo(request: Any) -> Any:
    """Return the body."""
    return fastapi.Response(await request.body(), media_type="application/octet-stream")


# FastAPI uses the type of the parameter.
echo.__annotations__["request"] = fastapi.Request
app.post("/")(echo)

if __name__ == "__main__":
    import_module("uvicorn").run(app, port=int(sys.argv[1]), access_log=False)
