"""``litserve_echo.py PORT``: the echo in the style of LitServe's documentation."""

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
    """Returns its input."""

    def setup(self, device: str) -> None:
        """Load nothing."""

    def decode_request(self, request: dict[str, str]) -> str:
        """Decode the request's JSON."""
        return request["input"]

    def predict(self, x: str) -> str:
        """Run the model."""
        return x

    def encode_response(self, output: str) -> dict[str, str]:
        """Encode the reply's JSON."""
        return {"output": output}


if __name__ == "__main__":
    server = litserve.LitServer(Echo(), workers_per_device=1)
    server.run(port=int(sys.argv[1]), generate_client_file=False)
