"""Paths, headers and media types."""

HEALTH = "/-/health"
"""200 while the process serves, even while a model computes."""
READY = "/-/ready"
"""200 if the replica accepts calls, else 503."""
LOAD = "/-/load"
"""Returns how many calls run in the handler of a gateway's replica, and how many wait. A POST with
the query ``hand-back=N`` first hands N of the waiting calls back."""
REVOKED = "/-/revoked"
"""Replaces the list of revoked keys with a JSON array of their ids, and ends the calls of these
keys. A gateway sends it to each of its replicas."""
OWN_PREFIX = "/-/"
"""Prefix of the watcher's own paths. Every other path is a call."""
FUNCTION_PREFIX = "/function/"
"""Prefix of a call's path at a gateway, before the function's name. A watcher accepts paths with
and without it, so that the same path works with and without a gateway."""

REQUEST_ID = "x-request-id"
"""Id of a call from end to end: the caller's, or else a generated one."""
DEADLINE_MS = "x-dcf-deadline-ms"
"""Milliseconds that the caller waits, counted from the request's arrival. It is relative, so that
clocks need not agree, like gRPC's ``grpc-timeout``."""
HELD_MS = "x-dcf-held-ms"
"""Milliseconds that a gateway held a call until a replica was ready. The replica accepts the call
even if its queue is full, because the gateway limits how many it holds. Only a gateway sets it, and
removes a caller's own."""
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
"""Address of a call's client. One listener of Envoy passes it to another for the log."""
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
"""Durations in milliseconds (W3C Server Timing): ``queue`` and ``handler``; behind a gateway also
``gateway``, from the request's first byte to the reply's first byte, and ``hold``, the part of it
before a replica was ready."""
RETRY_AFTER = "retry-after"
"""Seconds (RFC 9110, 10.2.3)."""

BINARY = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PNG = "image/png"
NPY = "application/x-npy"
PROBLEM = "application/problem+json"
"""Media type of a problem document (RFC 9457)."""
