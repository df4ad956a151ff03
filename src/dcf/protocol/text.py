"""Encodes texts that may contain a lone surrogate (half of a character), which UTF-8 cannot encode.

Python programs produce them: ``os.fsdecode`` from file names that are not UTF-8, ``json.loads``
from the escape of one half. Code that encodes or stores such a text uses this module, so that the
text cannot crash it.
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
        value: A value that JSON can represent.
        compact: Whether to leave out the spaces.
    """
    separators = (",", ":") if compact else None
    return json.dumps(value, ensure_ascii=False, separators=separators).encode(errors="replace")


def has_half_characters(value: Any) -> bool:
    """Return whether any text in ``value``, which was read from JSON, has a lone surrogate."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
