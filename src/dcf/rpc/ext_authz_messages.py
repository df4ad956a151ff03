"""Messages of Envoy's external authorization, by which Envoy asks whether to forward a call.

Names and numbers are Envoy's (``service/auth/v3`` in its folder ``api``). Fields that DCF does not
use are left out, which protobuf allows.
"""

from __future__ import annotations

from typing import Any

from dcf.rpc.descriptors import build

_MESSAGES = build(
    "dcf.rpc.ext_authz_messages",
    {
        # In service/auth/v3. The time is google.protobuf's Timestamp; it is always after 1970.
        "Timestamp": {"seconds": (1, "uint64"), "nanos": (2, "int32")},
        "HttpRequest": {"headers": (3, "map<string,string>"), "path": (4, "string")},
        "Request": {"time": (1, "Timestamp"), "http": (2, "HttpRequest")},
        "AttributeContext": {"request": (4, "Request")},
        "CheckRequest": {"attributes": (1, "AttributeContext")},
        # In config/core/v3 and type/v3; Status in google.rpc.
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
"""What Envoy does if the header already exists; values of its enum."""

SERVICE = "envoy.service.auth.v3.Authorization"
METHOD = "Check"
"""The service and its only method."""
