"""The OpenAPI document (spec.openapis.org, version 3.1), derived from the table of routes."""

from __future__ import annotations

from typing import Any

from dcf.controlplane.http.schemas import Schema, Schemas
from dcf.protocol import http
from dcf.protocol.api_types import ProblemDocument
from dcf.protocol.gateway import JSON_LINES
from dcf.protocol.routes import ROUTES, TAGS, AccessLevel, ApiRoute, Parameter
from dcf.version import __version__

_MEDIA_TYPES = {bytes: http.BINARY, str: http.TEXT.partition(";")[0]}


def document() -> dict[str, Any]:
    """Return the whole document."""
    schemas = Schemas()
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DCF gateway",
            "version": __version__,
            "description": "Deploys, runs, scales and calls functions.",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:32222"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The management token, or a key where a key is sufficient.",
                }
            },
        },
    }


def _operation(route: ApiRoute, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "tags": [route.tag],
        "summary": route.summary,
        "responses": _replies(route, schemas) | _problems(route.access, schemas),
        "security": _security(route.access),
    }
    if route.parameters:
        operation["parameters"] = [
            _parameter(route, parameter, schemas) for parameter in route.parameters
        ]
    if route.body is not None:
        content = _content(route.body, schemas.of(route.body, is_request=True))
        operation["requestBody"] = {"required": route.needs_body, "content": content}
    return operation


def _replies(route: ApiRoute, schemas: Schemas) -> dict[str, Any]:
    success: dict[str, Any] = {"description": route.reply}
    replies = {str(route.status): success}
    if route.result is not None:
        success["content"] = _content(route.result, schemas.of(route.result))
    if route.accepted:
        replies["202"] = {**success, "description": route.accepted}
    if route.lines is not None:
        lines = {JSON_LINES: {"schema": schemas.of(route.lines)}}
        success["content"] = {**success["content"], **lines}
    return replies


def _content(kind: Any, schema: Schema) -> dict[str, Any]:
    return {_MEDIA_TYPES.get(kind, http.JSON): {"schema": schema}}


def _parameter(route: ApiRoute, parameter: Parameter, schemas: Schemas) -> dict[str, Any]:
    place = {"in": "path", "required": True} if route.is_in_path(parameter) else {"in": "query"}
    return {
        "name": parameter.name,
        **place,
        "description": parameter.description,
        "schema": schemas.of(parameter.type),
    }


def _problems(access: AccessLevel, schemas: Schemas) -> dict[str, Any]:
    content = {http.PROBLEM: {"schema": schemas.of(ProblemDocument)}}
    problems = {"default": {"description": "An error.", "content": content}}
    if access is not AccessLevel.NOTHING:
        description = "The token is missing, unknown, revoked or not sufficient."
        problems["401"] = {"description": description, "content": content}
    return problems


def _security(access: AccessLevel) -> list[dict[str, list[str]]]:
    """Return what a request needs; whether a key is needed depends on where the gateway listens."""
    if access is AccessLevel.NOTHING:
        return [{}]
    return [{"token": []}] if access is AccessLevel.MANAGEMENT else [{}, {"token": []}]
