"""What can be asked of a gateway, in OpenAPI's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dcf.controlplane.metrics import CONTENT_TYPE
from dcf.model.names import NAME_PATTERN
from dcf.protocol import gateway, http

Members = Mapping[str, Any]

TAGS = {
    "functions": "What is deployed.",
    "uploads": "What is to be deployed.",
    "calls": "Calls of functions.",
    "keys": "Keys of callers.",
    "gateway": "The gateway itself.",
}

_CALL = http.FUNCTION_PREFIX + "{name}"
_FUNCTION = gateway.FUNCTION + "{name}"


def reference(name: str) -> Members:
    """One of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def content(schema: Members, media_type: str = http.JSON) -> dict[str, Any]:
    """A body of one media type."""
    return {media_type: {"schema": schema}}


def _list_of(name: str) -> Members:
    return {"type": "array", "items": reference(name)}


def _operation(
    name: str,
    tag: str,
    told: str,
    replies: Members,
    *,
    parameters: Sequence[Members] = (),
    body: Members | None = None,
    is_optional: bool = False,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": name,
        "tags": [tag],
        "summary": told,
        "responses": replies,
    }
    if parameters:
        found["parameters"] = parameters
    if body is not None:
        found["requestBody"] = {"required": not is_optional, "content": body}
    return found


def _reply(told: str, body: Members | None = None, status: int = 200) -> Members:
    reply = {"description": told} if body is None else {"description": told, "content": body}
    return {str(status): reply}


def _in_path(name: str, told: str, schema: Members) -> Members:
    return {"name": name, "in": "path", "required": True, "description": told, "schema": schema}


def _in_query(name: str, told: str, schema: Members) -> Members:
    return {"name": name, "in": "query", "description": told, "schema": schema}


_TEXT: Members = {"type": "string"}
_BYTES: Members = {"type": "string", "format": "binary"}
_NAME = _in_path("name", "The function's name.", {"type": "string", "pattern": f"^{NAME_PATTERN}$"})
_REST = _in_path("path", "What the handler sees as its path.", _TEXT)
_KEY_NAME = _in_path("name", "The key's name.", _TEXT)
_DIGEST = _in_path("digest", "The blob's name.", reference("Digest"))

_STATUS = content(reference("FunctionStatus"))
_AT_ONCE = "The function, before its replicas are ready."


def _deploy(name: str) -> dict[str, Any]:
    ready = {**_STATUS, **content(reference("Progress"), gateway.JSON_LINES)}
    return _operation(
        name,
        "functions",
        "Deploys a function",
        {
            **_reply("It is ready; or its progress, a line for each step.", ready),
            **_reply("It is deployed, and nobody waited for it.", _STATUS, 202),
        },
        body=content(reference("Deployment")),
    )


_LOG = _operation(
    "read_log",
    "functions",
    "What a function's replicas printed",
    _reply(
        "The lines, by time.",
        {**content(_TEXT, "text/plain"), **content(reference("ReplicaLine"), gateway.JSON_LINES)},
    ),
    parameters=[
        _NAME,
        _in_query("since", "From this time on, in seconds since the epoch.", {"type": "number"}),
        _in_query(
            "tail", "At most so many of those that are there.", {"type": "integer", "minimum": 0}
        ),
        _in_query(
            "follow", "1 goes on with new lines, without end.", {"type": "integer", "enum": [0, 1]}
        ),
        _in_query("replica", "Of this replica alone.", _TEXT),
    ],
)

_UPLOADS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", gateway.UPLOADS): _operation(
        "announce",
        "uploads",
        "Announces a bundle and a lock, and asks what is missing",
        _reply("Their names, and the blobs that are wanted.", content(reference("Announced"))),
        body=content(reference("Announcement")),
    ),
    ("PUT", gateway.BLOBS + "{digest}"): _operation(
        "send_blob",
        "uploads",
        "Sends a blob, or the next part of one",
        _reply("How far it has come.", content(reference("Received"))),
        parameters=[
            _DIGEST,
            _in_query(
                "offset", "Where this part belongs, in bytes.", {"type": "integer", "minimum": 0}
            ),
        ],
        body=content(_BYTES, http.BINARY),
    ),
}

_KEYS: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", gateway.KEYS): _operation(
        "list_keys", "keys", "Lists the keys", _reply("The keys.", content(_list_of("Key")))
    ),
    ("POST", gateway.KEYS): _operation(
        "make_key",
        "keys",
        "Makes a key",
        _reply("The key, shown this once.", content(reference("NewKey")), 201),
        body=content(reference("KeyWanted")),
    ),
    ("DELETE", gateway.KEYS + "/{name}"): _operation(
        "revoke_key",
        "keys",
        "Revokes a key",
        _reply("It is revoked.", status=204),
        parameters=[_KEY_NAME],
    ),
}

_ITSELF: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", gateway.HEALTHZ): _operation(
        "health", "gateway", "Whether it lives", _reply("It does.", content(_TEXT, "text/plain"))
    ),
    ("GET", gateway.METRICS): _operation(
        "metrics",
        "gateway",
        "Its figures, for Prometheus",
        _reply("The figures.", content(_TEXT, CONTENT_TYPE.partition(";")[0])),
    ),
    ("GET", gateway.OPENAPI): _operation(
        "openapi",
        "gateway",
        "This document",
        _reply("The document.", content({"type": "object", "additionalProperties": True})),
    ),
    ("GET", gateway.INFO): _operation(
        "info", "gateway", "What it is", _reply("That.", content(reference("GatewayInfo")))
    ),
}


def _call(method: str, path: str) -> dict[str, Any]:
    inner = path != _CALL
    found = _operation(
        f"call_{method.lower()}" + ("_path" if inner else ""),
        "calls",
        "Calls a function",
        _reply("What it returned; the media type is its choice.", content(_BYTES, http.BINARY)),
        parameters=[_NAME, _REST] if inner else [_NAME],
    )
    if method in {"POST", "PUT", "PATCH"}:
        found["requestBody"] = {"content": content(_BYTES, http.BINARY)}
    return found


OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", gateway.FUNCTIONS): _operation(
        "list_functions",
        "functions",
        "Lists the functions",
        _reply("The functions, without their replicas.", content(_list_of("FunctionStatus"))),
    ),
    ("POST", gateway.FUNCTIONS): _deploy("deploy"),
    ("PUT", gateway.FUNCTIONS): _deploy("deploy_again"),
    ("GET", _FUNCTION): _operation(
        "show_function", "functions", "One function", _reply("It.", _STATUS), parameters=[_NAME]
    ),
    ("DELETE", _FUNCTION): _operation(
        "delete_function",
        "functions",
        "Takes a function away",
        _reply("No call reaches it any more.", status=204),
        parameters=[_NAME],
    ),
    ("GET", _FUNCTION + gateway.REVISIONS): _operation(
        "list_revisions",
        "functions",
        "A function's revisions",
        _reply("The newest first.", content(_list_of("RevisionStatus"))),
        parameters=[_NAME],
    ),
    ("GET", _FUNCTION + gateway.EVENTS): _operation(
        "list_events",
        "functions",
        "What happened to a function",
        _reply("The newest first.", content(_list_of("Event"))),
        parameters=[_NAME],
    ),
    ("POST", _FUNCTION + gateway.ROLLBACK): _operation(
        "roll_back",
        "functions",
        "Makes an earlier revision the current one again; a canary ends",
        _reply(_AT_ONCE, _STATUS),
        parameters=[_NAME],
        body=content(reference("Rollback")),
        is_optional=True,
    ),
    ("POST", _FUNCTION + gateway.PROMOTE): _operation(
        "promote",
        "functions",
        "Makes the canary the current revision",
        _reply(_AT_ONCE, _STATUS),
        parameters=[_NAME],
    ),
    ("POST", _FUNCTION + gateway.ABORT): _operation(
        "abort",
        "functions",
        "Ends the canary",
        _reply(_AT_ONCE, _STATUS),
        parameters=[_NAME],
    ),
    ("PUT", gateway.SCALE): _operation(
        "scale_function",
        "functions",
        "Asks for a number of replicas, or has it scale by itself again",
        _reply(_AT_ONCE, _STATUS),
        body=content(reference("Scale")),
    ),
    ("GET", gateway.LOG + "{name}"): _LOG,
    **_UPLOADS,
    **_KEYS,
    **_ITSELF,
    **{
        (method, path): _call(method, path)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        for path in (_CALL, _CALL + "/{path:path}")
    },
}
"""Every operation by method and path."""
