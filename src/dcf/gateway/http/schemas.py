"""What travels as JSON, in OpenAPI's words; held by a test against the records of ``dcf.model``."""

from __future__ import annotations

from typing import Any

from dcf.model.event import EventKind
from dcf.model.names import NAME_PATTERN
from dcf.model.replica import ReplicaState
from dcf.model.scaling import MAX_IDLE, MAX_REPLICAS, MAX_TARGET, MIN_IDLE, MIN_TARGET
from dcf.model.status import FunctionState
from dcf.protocol.progress import ProgressKind

_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_WHOLE = {"type": "integer", "minimum": 0}
_TIME = {"type": "number", "description": "Seconds since the epoch."}
_NUMBER = {"type": "number"}
_SECONDS = _NUMBER
_TEXTS = {"type": "array", "items": _TEXT}
_PAIRS = {"type": "object", "additionalProperties": _TEXT}
_NAME = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
_REPLICAS = {"type": "integer", "minimum": 0, "maximum": MAX_REPLICAS}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [schema, {"type": "null"}]}


def _one_of(kinds: Any) -> dict[str, Any]:
    return {"type": "string", "enum": [str(kind) for kind in kinds]}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _reference(name)}


def _record(told: str, members: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a gateway sends; a later one may send more."""
    return {
        "type": "object",
        "description": told,
        "properties": members,
        "required": [name for name in members if name not in optional],
    }


def _sent(told: str, *required: str, **members: Any) -> dict[str, Any]:
    """What a client sends: nothing else is taken."""
    return {
        "type": "object",
        "description": told,
        "properties": members,
        "required": list(required),
        "additionalProperties": False,
    }


_ANSWERS: dict[str, Any] = {
    "FunctionStatus": _record(
        "One function.",
        {
            "name": _NAME,
            "artifact": _reference("Digest"),
            "revision": _WHOLE,
            "serving": _maybe(_WHOLE),
            "state": _reference("FunctionState"),
            "takes_calls": _FLAG,
            "invocations": _WHOLE,
            "replicas": _WHOLE,
            "ready": _WHOLE,
            "minimum": _WHOLE,
            "maximum": _WHOLE,
            "target": {**_NUMBER, "description": "Calls under way in one replica."},
            "idle": {**_SECONDS, "description": "Seconds until the last replica goes."},
            "by_hand": {**_FLAG, "description": "Whether that number was asked for by hand."},
            "canary": _maybe(_WHOLE),
            "share": {**_NUMBER, "description": "Percent of the calls that the canary gets."},
            "desc": _TEXT,
            "maintainer": _TEXT,
            "image": _TEXT,
            "labels": _PAIRS,
            "annotations": _PAIRS,
            "created": _TIME,
            "updated": _TIME,
            "failure": _maybe(_reference("Failure")),
            "replica_list": _list_of("ReplicaStatus"),
        },
    ),
    "FunctionState": _one_of(FunctionState),
    "Failure": _record(
        "Why a replica ended.",
        {"at": _TIME, "detail": _TEXT, "error": _TEXT, "traceback": _TEXT, "replica": _TEXT},
    ),
    "ReplicaStatus": _record(
        "One replica.",
        {
            "id": _TEXT,
            "revision": _WHOLE,
            "state": _reference("ReplicaState"),
            "since": _TIME,
            "limits": _TEXTS,
            "reason": _TEXT,
        },
    ),
    "ReplicaState": _one_of(ReplicaState),
    "RevisionStatus": _record(
        "One revision.",
        {
            "number": _WHOLE,
            "artifact": _reference("Digest"),
            "created": _TIME,
            "current": _FLAG,
            "share": _maybe({**_NUMBER, "description": "Percent of the calls, as a canary."}),
        },
    ),
    "Event": _record(
        "What happened to a function.",
        {
            "function": _NAME,
            "kind": _reference("EventKind"),
            "at": _TIME,
            "revision": _WHOLE,
            "key": _TEXT,
            "replica": _TEXT,
            "detail": _TEXT,
            "error": _TEXT,
            "traceback": _TEXT,
        },
    ),
    "EventKind": _one_of(EventKind),
    "ReplicaLine": _record(
        "A line that a replica printed.", {"at": _TIME, "replica": _TEXT, "text": _TEXT}
    ),
    "GatewayInfo": _record(
        "A gateway.",
        {
            "version": _TEXT,
            "functions": _WHOLE,
            "replicas": _WHOLE,
            "started": _TIME,
            "engine": _TEXT,
            "open": _FLAG,
        },
    ),
    "MissingBlob": _record(
        "A blob that is missing, wholly or from an offset on.",
        {"digest": _reference("Digest"), "size": _WHOLE, "offset": _WHOLE},
    ),
    "Announced": _record(
        "What was announced.",
        {
            "bundle": _reference("Digest"),
            "lock": _reference("Digest"),
            "missing": _list_of("MissingBlob"),
        },
    ),
    "Received": _record("How far a blob has come.", {"offset": _WHOLE, "complete": _FLAG}),
    "Key": _record(
        "A key, which itself is never shown again.",
        {"name": _TEXT, "created": _TIME, "revoked": _maybe(_TIME)},
    ),
    "NewKey": _record("A new key.", {"name": _TEXT, "key": _TEXT}),
    "Progress": _record(
        "A line of a deploy; which members it has depends on its kind.",
        {
            "kind": _reference("ProgressKind"),
            "step": _TEXT,
            "detail": _TEXT,
            "seconds": _SECONDS,
            "number": _WHOLE,
            "is_new": _FLAG,
            "function": _reference("FunctionStatus"),
            "problem": _reference("Problem"),
        },
        ("step", "detail", "seconds", "number", "is_new", "function", "problem"),
    ),
    "ProgressKind": _one_of(ProgressKind),
    "Problem": {
        **_record(
            "An error (RFC 9457). Some errors have members of their own.",
            {
                "type": _TEXT,
                "title": _TEXT,
                "status": _WHOLE,
                "detail": _TEXT,
                "error": {**_TEXT, "description": "The error's class."},
                "exception": {**_TEXT, "description": "The type of what the author raised."},
                "traceback": {**_TEXT, "description": "The author's part of it."},
                "request_id": _TEXT,
                "near": {**_TEXTS, "description": "Names like the one that was not found."},
                "offset": {**_WHOLE, "description": "Where an upload is to go on, in bytes."},
            },
            ("exception", "traceback", "request_id", "near", "offset"),
        ),
        "additionalProperties": True,
    },
}

_RESOURCES = _sent(
    "An amount of each resource.",
    memory=_maybe({"type": "integer", "minimum": 1, "description": "Bytes."}),
    cpu=_maybe({"type": "number", "exclusiveMinimum": 0, "description": "Cores."}),
    gpu=_maybe({"type": "integer", "minimum": 0, "description": "Devices."}),
)

_QUESTIONS: dict[str, Any] = {
    "Digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
    "Resources": _RESOURCES,
    "HandlerRef": _sent("Where the handler is.", dir=_TEXT, file=_TEXT, name=_TEXT),
    "FunctionSpec": _sent(
        "A function of a config.yaml.",
        "name",
        name=_NAME,
        runtime=_TEXT,
        desc=_TEXT,
        maintainer=_TEXT,
        handler=_reference("HandlerRef"),
        limits=_reference("Resources"),
        requests=_reference("Resources"),
        python=_maybe(_TEXT),
        timeout=_maybe({"type": "number", "exclusiveMinimum": 0}),
        idle_timeout=_maybe({"type": "number", "exclusiveMinimum": 0}),
        concurrency=_maybe({"type": "integer", "minimum": 1}),
        queue=_maybe(_WHOLE),
        preflight=_FLAG,
        environment=_PAIRS,
        environment_file=_TEXTS,
        secrets=_TEXTS,
        constraints=_TEXTS,
        labels=_PAIRS,
        scaling=_reference("ScalingSpec"),
        docker_registry=_TEXT,
        image=_TEXT,
        build_args={
            "type": "array",
            "items": {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2},
        },
        build_options=_TEXTS,
    ),
    "ScalingSpec": _sent(
        "How many replicas; null leaves what is.",
        minimum=_maybe(_REPLICAS),
        maximum=_maybe({**_REPLICAS, "minimum": 1}),
        target=_maybe({**_NUMBER, "minimum": MIN_TARGET, "maximum": MAX_TARGET}),
        idle=_maybe({**_NUMBER, "minimum": MIN_IDLE, "maximum": MAX_IDLE}),
    ),
    "Deployment": _sent(
        "A deploy.",
        "spec",
        "bundle",
        "lock",
        spec=_reference("FunctionSpec"),
        bundle=_reference("Digest"),
        lock=_reference("Digest"),
        minimum=_maybe(_REPLICAS),
        maximum=_maybe({**_REPLICAS, "minimum": 1}),
        annotations=_maybe(_PAIRS),
        canary=_maybe(
            {
                **_NUMBER,
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 100,
                "description": "Percent of the calls that it is to get.",
            }
        ),
        wait={**_FLAG, "description": "Whether to answer when it is ready; true by default."},
        timeout={**_SECONDS, "description": "Seconds to wait for that; 300 by default."},
    ),
    "Scale": _sent(
        "A number of replicas; null has the function scale by itself. The name may also be called"
        " serviceName or functionName.",
        "replicas",
        name=_NAME,
        serviceName=_NAME,
        functionName=_NAME,
        replicas=_maybe(_REPLICAS),
    ),
    "Rollback": _sent(
        "Which revision; null is the one before the current one.",
        revision=_maybe({"type": "integer", "minimum": 1}),
    ),
    "Announcement": _sent(
        "A bundle and a lock.",
        "files",
        "lock",
        files={
            "type": "array",
            "items": {
                "type": "array",
                "description": "Path, digest, size in bytes, whether it is executable.",
                "items": {"type": ["string", "integer", "boolean"]},
                "minItems": 4,
                "maxItems": 4,
            },
        },
        lock=_TEXT,
    ),
    "KeyWanted": _sent("A key to be made.", "name", name=_TEXT),
}

SCHEMAS: dict[str, Any] = {**_ANSWERS, **_QUESTIONS}
"""Every schema by its name."""
