"""Paths, headers and media types."""

HEALTH = "/-/health"
"""200 while the process serves at all, also while a model computes."""
READY = "/-/ready"
"""200 when calls are taken, else 503."""
LOAD = "/-/load"
"""How many calls the handler of a gateway's replica works on, and how many wait for it. A POST with
the query ``hand-back=N`` first gives N of those back that wait."""
REVOKED = "/-/revoked"
"""Takes the ids of revoked keys, a JSON array of strings, in place of those that came before, and
ends their calls. For a gateway, which sends it to each of its replicas."""
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
"""How many times Envoy has sent a call by now. Envoy sets it itself, whatever a client says."""
BEGUN = "x-dcf-begun"
"""On a reply that says that a replica could not finish a call: ``true`` when the handler had begun,
``false`` when it had not, so that the call can be repeated without doing anything twice."""
MOVE = "x-dcf-move"
"""On a watcher's reply to its gateway: the call has not begun, send it to another replica. A client
sees it only when every replica said so."""
OWN_HEADERS = "x-dcf-"
"""What the names of headers begin with that a handler's reply must not set."""
KEY = "x-dcf-key"
"""Id of the key that a call came with, so that the call can be ended when the key is revoked. Only
a gateway that needs keys says so, and drops a caller's own. No handler sees it."""
CLIENT = "x-dcf-client"
"""The address of a call's client, from one of Envoy's listeners to the other. For the log."""
REMOTE = "x-dcf-remote"
"""A gateway that listens beyond loopback sets this for a caller that is not on this machine, to the
id of the caller's key. Such a caller gets no tracebacks, unless the id is :data:`MANAGEMENT`."""
MANAGEMENT = "management"
"""The id (``kid``) of a gateway's management token, among those of its keys."""


def may_see_tracebacks(remote: str | None) -> bool:
    """Whether a caller is shown tracebacks.

    Args:
        remote: The value of :data:`REMOTE` in its request; None where there is none.
    """
    return remote is None or remote == MANAGEMENT


INTERNAL_HEADERS = (HELD_MS, CLIENT, REMOTE, KEY)
"""Headers that only the parts of a gateway may set. Envoy removes a client's own before anything,
its access log included, looks at them."""
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
