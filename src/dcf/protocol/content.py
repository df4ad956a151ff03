"""Decides which replies have content, and their ``Content-Length`` (RFC 9110, 6.4 and 8.6).

Every server of this project frames its replies by this module. If a server sends content with a
reply that must not have any, the client reads it as the beginning of the next reply.
"""

from __future__ import annotations

_WITHOUT_CONTENT = frozenset({204, 304})
_RESET_CONTENT = 205


def framing(status: int, size: int | None, *, head: bool) -> tuple[int | None, bool]:
    """Return the ``Content-Length`` of a reply, and whether its content is sent.

    Args:
        status: The reply's status.
        size: Bytes of the content; None if it is not known in advance.
        head: Whether the request's method is HEAD.

    Returns:
        The value of ``Content-Length``, or None if the reply has no such header; and whether the
        content follows. Content without a length is sent in chunks or until the connection closes.
    """
    if status in _WITHOUT_CONTENT or status < 200:  # noqa: PLR2004  1xx are interim replies
        return None, False
    if status == _RESET_CONTENT:
        return 0, False
    return size, not head
