"""The messages by which Envoy asks whether a call may go on, and of them the fields in use.

Envoy's external authorization (``service/auth/v3`` in its folder ``api``). Names and numbers are
Envoy's; fields that nobody here reads or sets are left out, which protobuf allows.
"""

from __future__ import annotations

from typing import Any

from dcf.rpc.descriptors import build

_MESSAGES = build(
    "dcf.rpc.ext_authz_messages",
    {
        # In service/auth/v3; the time is google.protobuf's Timestamp, after 1970 always.
        "Timestamp": {"seconds": (1, "uint64"), "nanos": (2, "int32")},
        "HttpRequest": {"headers": (3, "map<string,string>"), "path": (4, "string")},
        "Request": {"time": (1, "Timestamp"), "http": (2, "HttpRequest")},
        "AttributeContext": {"request": (4, "Request")},
        "CheckRequest": {"attributes": (1, "AttributeContext")},
        # In config/core/v3, type/v3, and of google.rpc the Status.
        "HeaderValue": {"key": (1, "string"), "value": (2, "string")},
        "HeaderValueOption": {"header": (1, "HeaderValue"), "append_action": (3, "int32")},
        "HttpStatus": {"code": (1, "int32")},
        "Status": {"code": (1, "int32")},
        # In service/auth/v3 again.
        "DeniedHttpResponse": {
            "status": (1, "HttpStatus"),
            "headers": (2, "[HeaderValueOption]"),
            "body": (3, "string"),
        },
        "OkHttpResponse": {
            "headers": (2, "[HeaderValueOption]"),
            "headers_to_remove": (5, "[string]"),
            "response_headers_to_add": (6, "[HeaderValueOption]"),
        },
        "CheckResponse": {
            "status": (1, "Status"),
            "denied_response": (2, "DeniedHttpResponse"),
            "ok_response": (3, "OkHttpResponse"),
        },
    },
)

CheckRequest: Any = _MESSAGES["CheckRequest"]
CheckResponse: Any = _MESSAGES["CheckResponse"]

APPEND, OVERWRITE = 0, 2
"""What becomes of a header that is there; values of Envoy's enum."""

SERVICE = "envoy.service.auth.v3.Authorization"
METHOD = "Check"
"""The one method, and its service."""
