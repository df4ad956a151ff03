"""Which names the ``Host`` of a request may have where callers need no key.

A web page can have a name of its own resolve to 127.0.0.1 (DNS rebinding) and then read what a
server on this machine answers. Its requests still carry that name as their ``Host``. An IP address
cannot be used so: rebinding needs a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dcf.errors import HostNotAllowed

OPTION = "--allow-host"
VARIABLE = "DCF_ALLOWED_HOSTS"

ANY = "*"
"""Allows every name."""

_LABEL = "[-a-z0-9_]+"
_NAME = re.compile(rf"(\*\.)?(?!-){_LABEL}(\.{_LABEL})*", re.ASCII)
_PREFIX = rf"({_LABEL}\.)+"
_OCTET = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_ADDRESSES = (rf"({_OCTET}\.){{3}}{_OCTET}", r"\[[0-9a-f:.]+(%[-a-z0-9._~%]*)?\]")


def split_names(text: str) -> list[str]:
    """Return the names in a list with commas, in lower case.

    Raises:
        ValueError: With the name that is neither a host name, ``*.NAME`` nor ``*``.
    """
    names = [name for part in text.split(",") if (name := part.strip().lower().removesuffix("."))]
    for name in names:
        if name != ANY and not _NAME.fullmatch(name):
            raise ValueError(name)
    return names


def patterns(names: Iterable[str]) -> list[str]:
    """Return regular expressions, one of which a whole ``Host`` must match.

    RE2, which Envoy has, and Python read them alike.

    Args:
        names: Allowed beside ``localhost``, ``*.localhost``, IP addresses and an empty host; each
            with every port. ``*.NAME`` allows the names below ``NAME``.
    """
    allowed = [f"({_PREFIX})?localhost", *_ADDRESSES]
    for name in names:
        rest = name.removeprefix("*.")
        allowed.append((_PREFIX if name != rest else "") + re.escape(rest))
    return ["", *(rf"(?i){one}\.?(:[0-9]*)?" for one in allowed)]


class AllowedHosts:
    """Tells a request that may pass from one that may not."""

    def __init__(self, names: Iterable[str]) -> None:
        """Allow what :func:`patterns` allows."""
        self._patterns = [re.compile(one.encode()) for one in patterns(names)]

    def check(self, host: bytes) -> None:
        """Return if a request with this ``Host`` may pass.

        Raises:
            HostNotAllowed: If not.
        """
        if not any(one.fullmatch(host) for one in self._patterns):
            raise HostNotAllowed(detail(host.decode("latin-1")[:200]))


def detail(host: str) -> str:
    """Return the sentence about a ``Host`` that may not pass."""
    return (
        f"expected localhost, an IP address or an allowed name as the Host, got {host};"
        f" to allow a name, start with {OPTION} NAME or set {VARIABLE}"
    )
