"""JSON bodies of the gateway's HTTP interface that are not records of ``dcf.model``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NotRequired, TypedDict

from dcf.model.function import FunctionSpec
from dcf.model.json_schema import Digest, FunctionName, Keywords, PositiveInt
from dcf.model.scaling import MaximumReplicas, Replicas
from dcf.model.status import MissingBlob


class Deployment(TypedDict):
    """A deploy.

    Attributes:
        spec: The function.
        bundle: Digest of the bundle.
        lock: Digest of the lock.
        minimum: Minimum number of replicas; None keeps the current value.
        maximum: Maximum number of replicas; None keeps the current value.
        annotations: Free key-value pairs; None keeps the current ones.
        canary: Percentage of the calls that the new revision gets as a canary; None makes it the
            current revision.
        wait: Whether to reply only when the replicas are ready; true by default.
        timeout: Maximum seconds to wait for ready replicas; 300 by default.
    """

    spec: FunctionSpec
    bundle: Digest
    lock: Digest
    minimum: NotRequired[Replicas | None]
    maximum: NotRequired[MaximumReplicas | None]
    annotations: NotRequired[Mapping[str, str] | None]
    canary: NotRequired[Annotated[float, Keywords(exclusiveMinimum=0, exclusiveMaximum=100)] | None]
    wait: NotRequired[bool]
    timeout: NotRequired[float]


class Scale(TypedDict):
    """A number of replicas for a function, which one of the three names identifies.

    Attributes:
        name: The function's name.
        serviceName: The function's name, as older clients send it.
        functionName: The function's name, as older clients send it.
        replicas: Number of replicas; None returns to automatic scaling.
    """

    name: NotRequired[FunctionName]
    serviceName: NotRequired[FunctionName]
    functionName: NotRequired[FunctionName]
    replicas: Replicas | None


class Rollback(TypedDict):
    """A rollback.

    Attributes:
        revision: Number of the revision; None means the one before the current one.
    """

    revision: NotRequired[PositiveInt | None]


class Announcement(TypedDict):
    """A bundle and a lock to upload.

    Attributes:
        files: For each file its path, digest, size in bytes, and whether it is executable.
        lock: Text of the lock.
    """

    files: list[tuple[str, str, int, bool]]
    lock: str


class AnnouncementReply(TypedDict):
    """The reply to an announcement.

    Attributes:
        bundle: Digest of the bundle.
        lock: Digest of the lock.
        missing: The blobs to send.
    """

    bundle: Digest
    lock: Digest
    missing: list[MissingBlob]


class Received(TypedDict):
    """How much of a blob has arrived.

    Attributes:
        offset: Bytes that have arrived.
        complete: Whether the blob is complete.
    """

    offset: int
    complete: bool


class KeyWanted(TypedDict):
    """A key to create.

    Attributes:
        name: Name of the key.
    """

    name: str


class NewKey(TypedDict):
    """A new key.

    Attributes:
        name: Name of the key.
        key: The key itself. It is not shown again.
    """

    name: str
    key: str


class Key(TypedDict):
    """A key, without the key itself.

    Attributes:
        name: Name of the key.
        created: Seconds since the epoch.
        revoked: Seconds since the epoch; None while the key is valid.
    """

    name: str
    created: float
    revoked: float | None


class ProblemDocument(TypedDict):
    """An error (RFC 9457). Some errors have members of their own.

    Attributes:
        type: Always ``about:blank``.
        title: The kind of error, for people.
        status: The HTTP status.
        detail: What happened and what to do about it, for people.
        error: The error's class.
        exception: Type of the exception that the handler raised.
        traceback: The handler's part of the traceback.
        request_id: Id of the request, as in the gateway's log.
        near: Known names that resemble the unknown one.
        offset: Where to continue the upload, in bytes.
    """

    type: str
    title: str
    status: int
    detail: str
    error: str
    exception: NotRequired[str]
    traceback: NotRequired[str]
    request_id: NotRequired[str]
    near: NotRequired[list[str]]
    offset: NotRequired[int]
