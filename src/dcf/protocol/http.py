"""Paths, headers and media types."""

HEALTH = "/-/health"
"""200 while the process serves at all, also while a model computes."""
READY = "/-/ready"
"""200 when calls are taken, else 503."""
LOAD = "/-/load"
"""Returns how many calls run in the handler of a gateway's replica, and how many wait. A POST with
the query ``hand-back=N`` first hands N of the waiting calls back."""
REVOKED = "/-/revoked"
"""Replaces the list of revoked keys with a JSON array of their ids, and ends the calls of these
keys. A gateway sends it to each of its replicas."""
OWN_PREFIX = "/-/"
"""Paths that are the watcher's; every other path is a call."""
FUNCTION_PREFIX = "/function/"
"""In front of a gateway a call's path is this and the function's name; a watcher takes both forms,
so that one URL path works with and without a gateway."""

REQUEST_ID = "x-request-id"
"""Names a call from end to end: taken over from the caller, else made."""
DEADLINE_MS = "x-dcf-deadline-ms"
"""Milliseconds that the caller still waits, counted from the request's arrival (relative, so that
clocks need not agree; gRPC's ``grpc-timeout`` is relative for the same reason)."""
HELD_MS = "x-dcf-held-ms"
"""Milliseconds that a gateway has held a call until there was a replica, which takes it beyond its
queue then: how many are held is bounded there. Only a gateway says so, and drops a caller's own."""
ATTEMPT = "x-envoy-attempt-count"
"""How many times Envoy has sent a call so far. Envoy overwrites a client's own value."""
BEGUN = "x-dcf-begun"
"""On a reply for a call that a replica could not finish: ``true`` if the handler had begun,
``false`` if it had not, so that the call can be repeated safely."""
MOVE = "x-dcf-move"
"""On a watcher's reply to its gateway: the call has not begun, so send it to another replica. A
client sees it only if every replica replied so."""
OWN_HEADERS = "x-dcf-"
"""Prefix of headers that a handler's reply must not set."""
KEY = "x-dcf-key"
"""Id of a call's key, so that the call can be ended when the key is revoked. Only a gateway that
requires keys sets it, and it removes a caller's own. Handlers do not see it."""
CLIENT = "x-dcf-client"
"""The address of a call's client, which one listener of Envoy passes to the other for the log."""
REMOTE = "x-dcf-remote"
"""Id of the key of a caller on another machine, set by a gateway that listens beyond loopback. Such
a caller gets no tracebacks, unless the id is :data:`MANAGEMENT`."""
MANAGEMENT = "management"
"""The key id (``kid``) of a gateway's management token."""


def may_see_tracebacks(remote: str | None) -> bool:
    """Return whether a caller may see tracebacks.

    Args:
        remote: The value of :data:`REMOTE` in its request; None without that header.
    """
    return remote is None or remote == MANAGEMENT


INTERNAL_HEADERS = (HELD_MS, CLIENT, REMOTE, KEY)
"""Headers that only the gateway's own processes may set. Envoy removes a client's own first, even
before the access log."""
SERVER_TIMING = "server-timing"
"""Where the time went: ``queue`` and ``handler`` in milliseconds (W3C Server Timing), and behind a
gateway ``gateway``: from the request's first byte to the reply's, and ``hold``: the part of it
before there was a replica."""
RETRY_AFTER = "retry-after"
"""Seconds (RFC 9110, 10.2.3)."""

BINARY = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PNG = "image/png"
NPY = "application/x-npy"
PROBLEM = "application/problem+json"
"""An error as a document (RFC 9457)."""
