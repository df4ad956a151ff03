"""``bentoml serve bentoml_echo:Echo``: the echo as BentoML's documentation would write it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    def service(_kind: type) -> Any:
        """What BentoML makes of a class."""

    def api(_method: Callable[..., str]) -> Any:
        """What BentoML makes of a method."""
else:
    service = import_module("bentoml").service
    api = import_module("bentoml").api


@service
class Echo:
    """Sends back what comes."""

    @api
    def echo(self, input: str) -> str:  # noqa: A002  the member of the request's JSON
        """One call."""
        return input
