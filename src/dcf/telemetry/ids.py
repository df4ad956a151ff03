"""Ids of calls."""

import itertools
import os

LONGEST = 128
"""Maximum length of a caller's id."""

USABLE = "[!-~]+"
"""The characters of a caller's id: visible ASCII, which needs no escapes in headers, logs and
JSON."""

_VISIBLE = bytes(range(ord("!"), ord("~") + 1))

_PROCESS = os.urandom(6).hex().encode()
_COUNT = itertools.count(1)


def is_usable(given: bytes) -> bool:
    """Return whether a caller's id can be used as the call's id."""
    return 0 < len(given) <= LONGEST and not given.translate(None, _VISIBLE)


def new_request_id() -> bytes:
    """An id that no other call has, ready for a header.

    A random part for the process and a count within it: as unique as a UUID for this purpose and a
    quarter of its price on the path of every call.
    """
    return b"%s-%x" % (_PROCESS, next(_COUNT))
