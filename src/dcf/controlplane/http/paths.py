"""Rejects paths that could be written in more than one way.

A proxy in front of the gateway may have rules about paths. A proxy that compares the raw path would
let ``/%73ystem/functions`` or ``//system/functions`` pass a rule about ``/system/``. So the gateway
rejects a path that another program could read differently.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from dcf.errors import BadRequest
from dcf.protocol import http

_PLAIN = re.compile(r"[-A-Za-z0-9._~/!$&'()*+,=:@]*")
"""Characters that a path may have unencoded (RFC 3986, 3.3), except ``;``, where some servers
truncate it."""

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[-A-Za-z0-9._~]")
_STRUCTURE = frozenset("/\\;%?#")
_CONTROLS = 0x20
_DELETE = 0x7F

_SHOWN = 200


def check_path(raw: str) -> None:
    """Check that a request's path is in its plain form. After a function's name, any form passes.

    Args:
        raw: The raw path, without the query.

    Raises:
        BadRequest: If it is not; the error says what is wrong.
    """
    own = raw
    if raw.startswith(http.FUNCTION_PREFIX):
        name = raw.removeprefix(http.FUNCTION_PREFIX).partition("/")[0]
        own = http.FUNCTION_PREFIX + (name or raw.removeprefix(http.FUNCTION_PREFIX))
    reason = _why_ambiguous(own)
    if reason:
        raise BadRequest(f"expected a path in its plain form, got {raw[:_SHOWN]}: {reason}")


def _why_ambiguous(path: str) -> str:
    if not _PLAIN.fullmatch(_ESCAPE.sub("", path)):
        return "it has a character that must be percent-encoded, or a ';'"
    if "//" in path:
        return "a segment is empty"
    for escape in _ESCAPE.finditer(path):
        character = unquote(escape.group(), "latin-1")
        if _UNRESERVED.fullmatch(character):
            return f"{escape.group()} must be written {character}"
        if character in _STRUCTURE or ord(character) < _CONTROLS or ord(character) == _DELETE:
            return f"{escape.group()} is not allowed"
    if any(segment in {".", ".."} for segment in path.split("/")):
        return "'.' and '..' must be resolved"
    return ""
