"""Ids of calls."""

import itertools
import os
import re

LONGEST = 128
"""Characters of an id that a caller may give."""

USABLE = "[!-~]+"
"""The characters of such an id: visible ASCII, which is the same text in a header, in a log and in
JSON."""

_USABLE = re.compile(USABLE.encode())

_PROCESS = os.urandom(6).hex().encode()
_COUNT = itertools.count(1)


def is_usable(given: bytes) -> bool:
    """Return whether an id that a caller gave becomes the call's."""
    return len(given) <= LONGEST and _USABLE.fullmatch(given) is not None


def new_request_id() -> bytes:
    """An id that no other call has, ready for a header.

    A random part for the process and a count within it: as unique as a UUID for this purpose and a
    quarter of its price on the path of every call.
    """
    return b"%s-%x" % (_PROCESS, next(_COUNT))
