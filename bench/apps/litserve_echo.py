"""``litserve_echo.py PORT``: the echo as LitServe's documentation would write it."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

litserve = import_module("litserve")
if TYPE_CHECKING:
    Base = object
else:
    Base = litserve.LitAPI


class Echo(Base):
    """Sends back what comes."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def decode_request(self, request: dict[str, str]) -> str:
        """From the request's JSON."""
        return request["input"]

    def predict(self, x: str) -> str:
        """The model."""
        return x

    def encode_response(self, output: str) -> dict[str, str]:
        """To the reply's JSON."""
        return {"output": output}


if __name__ == "__main__":
    server = litserve.LitServer(Echo(), workers_per_device=1)
    server.run(port=int(sys.argv[1]), generate_client_file=False)
