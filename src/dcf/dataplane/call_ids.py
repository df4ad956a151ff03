"""The id of a request, made fit for use before Envoy does anything else with it.

Why here, and what it costs: docs/decisions/0027-call-ids.md.
"""

from __future__ import annotations

from typing import Any

from dcf.protocol import http
from dcf.telemetry.ids import LONGEST, USABLE

_GIVEN = f"request.headers['{http.REQUEST_ID}']"
# The length apart: as part of the pattern it would exceed Envoy's limit for patterns.
_IS_USABLE = f"size({_GIVEN}) <= {LONGEST} && {_GIVEN}.matches('^{USABLE}$')"
# The presence first: it costs a third of the rest, and most requests bring no id.
_USABLE = f"'{http.REQUEST_ID}' in request.headers ? ({_IS_USABLE} ? {_GIVEN} : '') : ''"


def usable_ids() -> dict[str, Any]:
    """The extension of an HTTP connection manager that empties an id which is not usable.

    Envoy makes an id for a request whose own is missing or empty. What is usable:
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
