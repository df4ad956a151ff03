"""An error as a document, and back (RFC 9457, ``application/problem+json``).

Members beside the RFC's own: ``error``, the class in ``dcf.errors``; ``exception``, the author's
exception type; ``traceback``; ``request_id``.
"""

from __future__ import annotations

import json

from dcf import errors
from dcf.protocol.status import status_of

_TITLES = {
    errors.HandlerRaised: "The handler raised an exception",
    errors.UnsupportedReply: "The handler returned something that cannot be sent",
    errors.DeadlineExceeded: "No reply before the deadline",
    errors.Overloaded: "Too many calls are waiting",
    errors.NotReady: "The replica takes no calls now",
    errors.ReplicaLost: "The replica ended during the call",
    errors.BodyTooLarge: "The body is too large",
    errors.BadRequest: "The request cannot be used",
}

_PLAIN: dict[str, type[errors.CallError]] = {
    kind.__name__: kind
    for kind in (
        errors.BadRequest,
        errors.CallError,
        errors.DeadlineExceeded,
        errors.NotReady,
        errors.Overloaded,
        errors.ReplicaLost,
        errors.UnsupportedReply,
    )
}


def to_problem(error: errors.DcfError, request_id: str = "") -> bytes:
    """``error`` as a problem document."""
    kind = type(error)
    members = {
        "type": "about:blank",
        "title": _TITLES.get(kind, "The function could not be called"),
        "status": status_of(kind).http,
        "detail": str(error),
        "error": kind.__name__,
        "exception": getattr(error, "exception", ""),
        "traceback": getattr(error, "traceback", ""),
        "request_id": request_id,
    }
    kept = {name: value for name, value in members.items() if value != ""}
    return json.dumps(kept, ensure_ascii=False).encode()


def from_problem(status: int, body: bytes) -> errors.DcfError:
    """The error that a reply with ``status`` and ``body`` stands for.

    A body that is no problem document of this project gives the error that fits the status.
    """
    try:
        members = json.loads(body)
    except ValueError:
        members = {}
    if not isinstance(members, dict):
        members = {}
    detail = str(members.get("detail") or body[:500].decode(errors="replace") or f"HTTP {status}")
    if members.get("error") == errors.HandlerRaised.__name__:
        return errors.HandlerRaised(
            detail,
            exception=str(members.get("exception", "")),
            traceback=str(members.get("traceback", "")),
        )
    kind = _PLAIN.get(str(members.get("error")))
    return kind(detail) if kind else errors.CallError(f"HTTP {status}: {detail}")
