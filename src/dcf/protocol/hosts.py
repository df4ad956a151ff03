"""Decides which names the ``Host`` of a request may have if callers need no key.

A web page can make its own name resolve to 127.0.0.1 (DNS rebinding) and then read the replies of a
server on this machine. Its requests still carry that name as their ``Host``. IP addresses are safe,
because rebinding needs a name.
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
    """Return the names in a comma-separated list, in lower case.

    Raises:
        ValueError: If a name is neither a host name, ``*.NAME`` nor ``*``; the message is the name.
    """
    names = [name for part in text.split(",") if (name := part.strip().lower().removesuffix("."))]
    for name in names:
        if name != ANY and not _NAME.fullmatch(name):
            raise ValueError(name)
    return names


def patterns(names: Iterable[str]) -> list[str]:
    """Return regular expressions, one of which must match the whole ``Host``.

    They mean the same in Python and in RE2, which Envoy uses.

    Args:
        names: Names to allow besides ``localhost``, ``*.localhost``, IP addresses and an empty
            host, each with every port. ``*.NAME`` allows the names below ``NAME``.
    """
    allowed = [f"({_PREFIX})?localhost", *_ADDRESSES]
    for name in names:
        rest = name.removeprefix("*.")
        allowed.append((_PREFIX if name != rest else "") + re.escape(rest))
    return ["", *(rf"(?i){pattern}\.?(:[0-9]*)?" for pattern in allowed)]


class AllowedHosts:
    """Checks the ``Host`` of requests."""

    def __init__(self, names: Iterable[str]) -> None:
        """Allow the names that :func:`patterns` allows."""
        self._patterns = [re.compile(pattern.encode()) for pattern in patterns(names)]

    def check(self, host: bytes) -> None:
        """Check that a request with this ``Host`` is allowed.

        Raises:
            HostNotAllowed: If it is not.
        """
        if not any(pattern.fullmatch(host) for pattern in self._patterns):
            raise HostNotAllowed(detail(host.decode("latin-1")[:200]))


def detail(host: str) -> str:
    """Return the error message for a ``Host`` that is not allowed."""
    return (
        f"expected localhost, an IP address or an allowed name as the Host, got {host};"
        f" to allow a name, start with {OPTION} NAME or set {VARIABLE}"
    )
