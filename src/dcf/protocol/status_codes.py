"""The table of the HTTP and gRPC statuses of all errors."""

from __future__ import annotations

from dataclasses import dataclass

from dcf import errors


@dataclass(frozen=True, slots=True)
class Status:
    """Statuses of an error.

    Attributes:
        http: Status code (RFC 9110).
        grpc: Status number (grpc/grpc, doc/statuscodes.md).
    """

    http: int
    grpc: int


STATUS: dict[type[errors.DcfError], Status] = {
    errors.DcfError: Status(500, 13),
    errors.InvalidName: Status(400, 3),
    errors.ConfigError: Status(400, 3),
    errors.FunctionNotFound: Status(404, 5),
    errors.SpecInvalid: Status(400, 3),
    errors.RolloutInvalid: Status(409, 9),
    errors.NameTaken: Status(409, 6),
    errors.BuildError: Status(422, 9),
    errors.DiskFull: Status(507, 8),
    errors.GpuUnavailable: Status(409, 8),
    errors.StartError: Status(503, 14),
    errors.ReplicaUnknown: Status(404, 5),
    errors.SecretNotFound: Status(422, 9),
    errors.GatewayError: Status(502, 14),
    errors.AccessDenied: Status(401, 16),
    errors.UploadInvalid: Status(409, 9),
    errors.BlobsMissing: Status(409, 9),
    errors.BadRequest: Status(400, 3),
    errors.PathUnknown: Status(404, 5),
    errors.MethodNotAllowed: Status(405, 12),
    errors.PreflightRefused: Status(403, 7),
    errors.HostNotAllowed: Status(421, 7),
    errors.BodyTooLarge: Status(413, 8),
    errors.BodyTooSlow: Status(408, 4),
    errors.HandlerRaised: Status(500, 13),
    errors.UnsupportedReply: Status(500, 13),
    errors.DeadlineExceeded: Status(504, 4),
    errors.Overloaded: Status(503, 8),
    errors.NotReady: Status(503, 14),
    errors.ReplicaLost: Status(502, 14),
}
"""Statuses. Other classes have the status of their nearest listed ancestor."""


def status_of(error: type[errors.DcfError]) -> Status:
    """Return the status of an error's class."""
    return next(STATUS[ancestor] for ancestor in error.__mro__ if ancestor in STATUS)
