"""The naming rule for functions."""

import re

from dcf.errors import InvalidName

NAME_PATTERN = "[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
"""A DNS label (RFC 1123) that starts with a letter, so that a name fits a host name, a Kubernetes
object and a path segment as it is."""

_NAME = re.compile(NAME_PATTERN)


def check_name(name: str) -> str:
    """Returns ``name`` if it may name a function.

    Raises:
        InvalidName: With the reason that applies.
    """
    if _NAME.fullmatch(name):
        return name
    raise InvalidName(name, _reason(name))


def _reason(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > 63:  # noqa: PLR2004  the longest DNS label
        return f"it has {len(name)} characters, at most 63 are allowed"
    if not re.match("[a-z]", name):
        return "it must start with a lower-case letter"
    found = sorted(set(re.findall("[^-a-z0-9]", name)))
    if found:
        shown = " ".join(repr(character) for character in found)
        return f"only lower-case letters, digits and '-' are allowed, found {shown}"
    return "it must end with a letter or a digit"
