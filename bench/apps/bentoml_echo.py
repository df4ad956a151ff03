"""``bentoml serve bentoml_echo:Echo``: the echo in the style of BentoML's documentation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    def service(_kind: type) -> Any:
        """Return the decorator of a class, typed."""

    def api(_method: Callable[..., str]) -> Any:
        """Return the decorator of a method, typed."""
else:
    service = import_module("bentoml").service
    api = import_module("bentoml").api


@service
class Echo:
    """Returns its input."""

    @api
    def echo(self, input: str) -> str:  # noqa: A002  the member of the request's JSON
        """Handle a call."""
        return input
