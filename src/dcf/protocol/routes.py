"""The routes of the gateway's HTTP interface, in one table.

Everything that depends on a route is derived from it: the client's requests, dispatch, access
control and the OpenAPI document. The handlers are methods in ``dcf.controlplane.http``, which this
room cannot import; the control plane does not start if a route has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from dcf.model.event import Event
from dcf.model.json_schema import Digest, FunctionName
from dcf.model.status import FunctionStatus, GatewayInfo, ReplicaLine, RevisionStatus
from dcf.protocol import http
from dcf.protocol.api_types import (
    Announcement,
    AnnouncementReply,
    Deployment,
    Key,
    KeyWanted,
    NewKey,
    Received,
    Rollback,
    Scale,
)
from dcf.protocol.progress import Progress


class AccessLevel(StrEnum):
    """Which credentials a request needs."""

    NOTHING = "nothing"
    """None, whatever address the gateway listens on."""
    KEY = "key"
    """A key or the management token, unless the gateway is open."""
    MANAGEMENT = "management"
    """The management token."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in a path or a query.

    Attributes:
        name: Its name.
        description: For the OpenAPI document.
        type: Its Python type.
    """

    name: str
    description: str
    type: Any = str


@dataclass(frozen=True, slots=True, eq=False)
class ApiRoute:
    """A method at a path.

    Attributes:
        operation: Its operationId in the OpenAPI document.
        method: The HTTP method. HEAD goes with GET.
        path: The path, with parameters as ``{name}``.
        access: Which credentials it needs.
        summary: What it does, for users of the interface.
        reply: What a successful reply contains, for users of the interface.
        result: Python type of a successful reply's body; None for no body.
        status: HTTP status of a successful reply.
        tag: Its group in the OpenAPI document, a key of :data:`TAGS`.
        lines: Type of each line, if the reply can also be sent as lines of JSON.
        accepted: What a reply with status 202 contains; "" if there is none.
        parameters: The parameters of its path and query.
        body: Python type of the request's body; None for no body.
        needs_body: Whether the body is required.
        takes_any_query: Whether unknown query parameters are accepted.
    """

    operation: str
    method: str
    path: str
    access: AccessLevel
    summary: str
    reply: str
    result: Any = None
    status: int = 200
    tag: str = "gateway"
    lines: Any = None
    accepted: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    needs_body: bool = True
    takes_any_query: bool = False

    @property
    def prefix(self) -> str:
        """The path up to its first parameter."""
        return self.path.partition("{")[0]

    def target(self, **parameters: str) -> str:
        """Return the path with the values of its parameters, percent-encoded."""
        values = {name: quote(value, safe=":") for name, value in parameters.items()}
        return self.path.format(**values)

    def is_in_path(self, parameter: Parameter) -> bool:
        """Return whether a parameter is part of the path."""
        return f"{{{parameter.name}}}" in self.path


TAGS: Mapping[str, str] = {
    "functions": "Deployed functions.",
    "uploads": "Uploads before a deploy.",
    "calls": "Calls of functions.",
    "keys": "API keys.",
    "gateway": "The gateway itself.",
}

NOTHING, KEY, MANAGEMENT = AccessLevel
_FUNCTION = "/system/function/{name}"
_NAME = Parameter("name", "The function's name.", FunctionName)
_functions = partial(ApiRoute, tag="functions")
_of_function = partial(_functions, parameters=(_NAME,))
_uploads = partial(ApiRoute, tag="uploads")
_keys = partial(ApiRoute, tag="keys")
_STATUS = "The function's status. Its replicas may not be ready yet."

HEALTH = ApiRoute(
    *("health", "GET", "/healthz", NOTHING),
    *("Liveness probe. Returns OK while the process runs.", "The process runs.", str),
    takes_any_query=True,
)
METRICS = ApiRoute(
    *("metrics", "GET", "/metrics", KEY),
    *("Get metrics in the Prometheus text format.", "The metrics.", str),
    takes_any_query=True,
)
OPENAPI = ApiRoute(
    *("openapi", "GET", "/openapi.json", KEY),
    *("Get this document.", "The OpenAPI document.", dict),
    takes_any_query=True,
)
INFO = ApiRoute(
    *("info", "GET", "/system/info", KEY),
    *("Get the gateway's version and state.", "The gateway's version and state.", GatewayInfo),
)
LIST_FUNCTIONS = _functions(
    *("list_functions", "GET", "/system/functions", KEY),
    *("List all functions.", "The functions, without their replicas.", list[FunctionStatus]),
)
DEPLOY = _functions(
    *("deploy", "POST", "/system/functions", MANAGEMENT),
    "Deploy a function. Its files must have been uploaded.",
    "The function's status once its replicas are ready. With Accept: application/jsonl, progress"
    " as one JSON object per line.",
    FunctionStatus,
    lines=Progress,
    accepted="The function's status, without waiting for its replicas.",
    body=Deployment,
)
DEPLOY_AGAIN = replace(
    DEPLOY, operation="deploy_again", method="PUT", summary="Deploy a function. The same as POST."
)
SHOW_FUNCTION = _of_function(
    *("show_function", "GET", _FUNCTION, KEY),
    *("Get a function's status.", "The function's status.", FunctionStatus),
)
DELETE_FUNCTION = _of_function(
    *("delete_function", "DELETE", _FUNCTION, MANAGEMENT),
    "Delete a function. Calls in progress are finished.",
    "The function is deleted and gets no more calls.",
    status=204,
)
LIST_REVISIONS = _of_function(
    *("list_revisions", "GET", _FUNCTION + "/revisions", MANAGEMENT),
    *("List a function's revisions.", "The revisions, newest first.", list[RevisionStatus]),
)
LIST_EVENTS = _of_function(
    *("list_events", "GET", _FUNCTION + "/events", MANAGEMENT),
    "List a function's events: deploys, scaling, failed starts and crashes.",
    *("The events, newest first.", list[Event]),
)
ROLL_BACK = _of_function(
    *("roll_back", "POST", _FUNCTION + "/rollback", MANAGEMENT),
    *("Make an earlier revision the current one. Ends a canary.", _STATUS, FunctionStatus),
    body=Rollback,
    needs_body=False,
)
PROMOTE = _of_function(
    *("promote", "POST", _FUNCTION + "/promote", MANAGEMENT),
    *("Make the canary the current revision.", _STATUS, FunctionStatus),
)
ABORT = _of_function(
    *("abort", "POST", _FUNCTION + "/abort", MANAGEMENT),
    *("End the canary.", _STATUS, FunctionStatus),
)
SCALE = _functions(
    *("scale_function", "PUT", "/system/scale-function", MANAGEMENT),
    "Set a function's number of replicas, or return to automatic scaling.",
    *(_STATUS, FunctionStatus),
    body=Scale,
)
READ_LOG = _functions(
    *("read_log", "GET", "/system/function-log/{name}", MANAGEMENT),
    "Read the log of a function's replicas.",
    "The lines in order of time. With Accept: application/jsonl, one JSON object per line.",
    str,
    lines=ReplicaLine,
    parameters=(
        _NAME,
        Parameter("since", "Start time, in seconds since the epoch.", float),
        Parameter("tail", "Maximum number of existing lines.", int),
        Parameter("follow", "1 keeps the reply open and adds new lines.", Literal[0, 1]),
        Parameter("replica", "Id of a replica, to read only its lines."),
    ),
)
ANNOUNCE = _uploads(
    *("announce", "POST", "/system/uploads", MANAGEMENT),
    "Announce a bundle and a lock, and get the list of missing blobs. May be repeated.",
    *("The digests of bundle and lock, and the missing blobs.", AnnouncementReply),
    body=Announcement,
)
SEND_BLOB = _uploads(
    *("send_blob", "PUT", "/system/blobs/{digest}", MANAGEMENT),
    *("Upload a blob, or the next part of it.", "How much of the blob has arrived.", Received),
    parameters=(
        Parameter("digest", "The blob's digest.", Digest),
        Parameter("offset", "Where this part begins, in bytes.", int),
    ),
    body=bytes,
)
LIST_KEYS = _keys(
    *("list_keys", "GET", "/system/keys", MANAGEMENT),
    *("List the API keys.", "The keys, revoked ones included.", list[Key]),
)
MAKE_KEY = _keys(
    *("make_key", "POST", "/system/keys", MANAGEMENT),
    *("Create an API key.", "The new key. It is not shown again.", NewKey, 201),
    body=KeyWanted,
)
REVOKE_KEY = _keys(
    *("revoke_key", "DELETE", "/system/keys/{name}", MANAGEMENT),
    *("Revoke an API key.", "The key is revoked.", None, 204),
    parameters=(Parameter("name", "The key's name."),),
)


def _call(method: str, *rest: Parameter) -> ApiRoute:
    path = "/".join([http.FUNCTION_PREFIX + "{name}", *(f"{{{part.name}}}" for part in rest)])
    operation = "_".join(["call", method.lower(), *(part.name for part in rest)])
    return ApiRoute(
        # Envoy has checked the key. Only calls of functions without a route there get here.
        *(operation, method, path, NOTHING),
        *("Call a function.", "The handler's reply, with a media type of its choice.", bytes),
        tag="calls",
        parameters=(_NAME, *rest),
        body=bytes if method in {"POST", "PUT", "PATCH"} else None,
        needs_body=False,
        takes_any_query=True,
    )


_REST = Parameter("path", "The path that the handler gets.")

CALLS = tuple(
    route
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    for route in (_call(method), _call(method, _REST))
)

ROUTES = (*(value for value in globals().values() if isinstance(value, ApiRoute)), *CALLS)
"""All routes."""
