"""The interface as an OpenAPI document (spec.openapis.org, version 3.1).

Here is what ties operations together; they themselves are in ``operations.py``, their data in
``schemas.py``. A test holds the whole against the routes.
"""

from __future__ import annotations

from typing import Any

from dcf.controlplane.auth import RULES, AccessLevel
from dcf.controlplane.http.openapi_operations import OPERATIONS, TAGS, content, reference
from dcf.controlplane.http.schemas import SCHEMAS
from dcf.protocol import http
from dcf.version import __version__


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    for (method, path), access in RULES.items():
        operation = dict(OPERATIONS[method, path])
        operation["responses"] = {**operation["responses"], **_problems(access)}
        operation["security"] = _security(access)
        paths.setdefault(path.replace(":path}", "}"), {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DCF gateway",
            "version": __version__,
            "description": "Deploys functions, looks after them and calls them.",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:32222"}],
        "tags": [{"name": name, "description": told} for name, told in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The management token, or a key where one is enough.",
                }
            },
        },
    }


def _problems(access: AccessLevel) -> dict[str, Any]:
    problem = content(reference("Problem"), http.PROBLEM)
    found = {"default": {"description": "What went wrong.", "content": problem}}
    if access is not AccessLevel.NOTHING:
        told = "The token is missing, unknown, revoked, or not good for this."
        found["401"] = {"description": told, "content": problem}
    return found


def _security(access: AccessLevel) -> list[dict[str, list[str]]]:
    """Nothing; a token; or, depending on where the gateway listens, either."""
    if access is AccessLevel.NOTHING:
        return [{}]
    return [{"token": []}] if access is AccessLevel.MANAGEMENT else [{}, {"token": []}]
