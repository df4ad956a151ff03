"""The names of this machine that the ``Host`` of a request may have."""

from __future__ import annotations

import contextlib
import socket

from dcf.protocol.hosts import split_names


def own_names(*more: str) -> list[str]:
    """Return the machine's own name, with and without its domain.

    Args:
        *more: Further names, such as the one to listen on. Invalid names are left out, because no
            client can send them.
    """
    own = socket.gethostname()
    names: list[str] = []
    for name in (own, own.partition(".")[0], *more):
        with contextlib.suppress(ValueError):
            names += split_names(name)
    return list(dict.fromkeys(names))
