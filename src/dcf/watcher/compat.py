"""Modules that handlers of old import."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from types import ModuleType


class OldNameFinder(MetaPathFinder):
    """Finds ``mesh``. Must come last, so that anybody else's ``mesh`` wins."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  the interface's
        target: ModuleType | None = None,  # noqa: ARG002  likewise
    ) -> ModuleSpec | None:
        """The module of that name, if it is one of ours."""
        home = find_spec("dcf.function.mesh") if fullname == "mesh" else None
        return spec_from_file_location(fullname, home.origin) if home and home.origin else None
