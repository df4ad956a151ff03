"""Replaces an unusable request id before Envoy does anything else with the request.

Reasons and cost: docs/decisions/0027-call-ids.md.
"""

from __future__ import annotations

from typing import Any

from dcf.protocol import http
from dcf.telemetry.ids import LONGEST, USABLE

_GIVEN = f"request.headers['{http.REQUEST_ID}']"
# Check the length separately: as part of the pattern it would exceed Envoy's limit for patterns.
_IS_USABLE = f"size({_GIVEN}) <= {LONGEST} && {_GIVEN}.matches('^{USABLE}$')"
# Check the presence first: it costs a third of the rest, and most requests have no id.
_USABLE = f"'{http.REQUEST_ID}' in request.headers ? ({_IS_USABLE} ? {_GIVEN} : '') : ''"


def usable_ids() -> dict[str, Any]:
    """Return the extension of an HTTP connection manager that empties an unusable id.

    Envoy generates an id if a request's own is missing or empty. Usable ids:
    :func:`dcf.telemetry.ids.is_usable`.
    """
    mutation = {
        "header": {"key": http.REQUEST_ID, "value": f"%CEL({_USABLE})%"},
        "append_action": "OVERWRITE_IF_EXISTS",
        "keep_empty_value": True,
    }
    return {
        "name": "usable ids",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation"
            ".header_mutation.v3.HeaderMutation",
            "mutations": [{"append": mutation}],
        },
    }
