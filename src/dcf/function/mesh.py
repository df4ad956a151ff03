"""The module ``mesh`` of the original DCF, with ``mesh.mesh_call`` to call other functions.

A replica imports it as ``mesh`` unless the author or a package has a module of that name.
"""

from __future__ import annotations

from dcf.function.calls import call

__all__ = ["mesh_call"]


def mesh_call(name: str, data: bytes | str = b"") -> bytes:
    """Call another function, as ``dcf.call`` does."""
    return call(name, data)
