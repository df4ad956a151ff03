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
    """Return a unique id for a call, as a header's value.

    It has a random part for the process and a counter. That is unique enough for this purpose, and
    takes a quarter of the time of a UUID for each call.
    """
    return b"%s-%x" % (_PROCESS, next(_COUNT))
