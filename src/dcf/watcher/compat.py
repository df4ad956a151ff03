"""Makes modules of the original DCF importable, for handlers that were written for it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from types import ModuleType


class OldNameFinder(MetaPathFinder):
    """Finds ``mesh``. It must come last, so that any other ``mesh`` takes precedence."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  the interface's
        target: ModuleType | None = None,  # noqa: ARG002  the interface's
    ) -> ModuleSpec | None:
        """Return the spec of ``mesh``; None for any other name."""
        home = find_spec("dcf.function.mesh") if fullname == "mesh" else None
        return spec_from_file_location(fullname, home.origin) if home and home.origin else None
