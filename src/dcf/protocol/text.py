"""Texts that may hold half of a character: a lone surrogate, which UTF-8 cannot hold.

Python programs have them: ``os.fsdecode`` makes them of file names that are not UTF-8, and
``json.loads`` of the escape of one half. Whoever writes bytes or stores a text goes through
this module, so that a text never ends what it passes through.
"""

from __future__ import annotations

import json
import re
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")


def whole_text(text: str) -> str:
    """Return ``text`` with ``?`` in place of each half of a character."""
    return text if text.isascii() else _HALF.sub("?", text)


def json_bytes(value: Any, *, compact: bool = False) -> bytes:
    """Return ``value`` as JSON in UTF-8, with ``?`` in place of each half of a character.

    Args:
        value: What JSON can hold.
        compact: Whether to leave out the spaces.
    """
    separators = (",", ":") if compact else None
    return json.dumps(value, ensure_ascii=False, separators=separators).encode(errors="replace")


def has_half_characters(value: Any) -> bool:
    """Return whether a text anywhere in ``value``, which was read from JSON, is not whole."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
