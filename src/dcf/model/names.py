"""The naming rule for functions."""

import re

from dcf.errors import InvalidName

NAME_PATTERN = "[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
"""A DNS label (RFC 1123) that starts with a letter. So a name is also valid as a host name, as the
name of a Kubernetes object, and as a path segment."""

_NAME = re.compile(NAME_PATTERN)


def check_name(name: str) -> str:
    """Return ``name`` if it is a valid name of a function.

    Raises:
        InvalidName: If it is not. The message says why.
    """
    if _NAME.fullmatch(name):
        return name
    raise InvalidName(name, _reason(name))


def _reason(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > 63:  # noqa: PLR2004  the longest DNS label
        return f"expected at most 63 characters, got {len(name)}"
    if not re.match("[a-z]", name):
        return "it must start with a lower-case letter"
    if characters := sorted(set(re.findall("[^-a-z0-9]", name))):
        shown = " ".join(repr(character) for character in characters)
        return f"expected only lower-case letters, digits and '-', got {shown}"
    return "it must end with a letter or a digit"
