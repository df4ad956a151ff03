"""All errors of the project, as one tree.

::

    DcfError
    ├── ProjectError                the author's files, names or settings
    │   ├── InvalidName             a function's name breaks the naming rule
    │   ├── ConfigError             config.yaml or a setting, with the place of each problem
    │   ├── FunctionNotFound        no function of that name, or no config.yaml
    │   ├── FunctionAmbiguous       several functions and none named, or two that differ
    │   ├── FolderExists            init does not overwrite
    │   ├── SecretNotFound          a named secret or environment file is missing
    │   ├── SpecInvalid             an invalid spec or number of replicas from a client
    │   ├── RolloutInvalid          a canary, promotion or abort with nothing to act on
    │   └── NameTaken               the name is already in use
    ├── BuildError                  the environment or the bundle cannot be built
    │   ├── RequirementsInvalid     requirements.txt cannot be parsed
    │   ├── PackageNotFound         no index has the package or version
    │   ├── VersionConflict         conflicting pins, or pins that conflict with the watcher's
    │   ├── InterpreterNotFound     the Python version is neither installed nor available
    │   ├── IndexUnreachable        no network, and the cache does not have the package
    │   ├── InstallFailed           a package does not build or install
    │   ├── BuildTimeout            the build exceeded its time limit
    │   └── BundleInvalid           a file cannot be part of a bundle
    ├── StorageError                the disk
    │   ├── DiskFull
    │   └── CatalogUnusable         the gateway's catalog is damaged, foreign or too new
    ├── GpuUnavailable              fewer GPUs are free than requested
    ├── StartError                  a replica did not become ready
    │   ├── HandlerNotFound         the handler's file, or the name in it, is missing
    │   ├── HandlerImportFailed     the file could not be imported (also a syntax error)
    │   ├── HandlerInitFailed       the constructor raised
    │   ├── StartTimeout            the constructor exceeded its time limit
    │   ├── ConfinementFailed       the process's limits cannot be enforced
    │   ├── ReplicaExited           the process exited before it was ready
    │   └── AddressInUse            the address to listen on is in use or not available
    ├── ReplicaUnknown              an engine has no replica with that id
    ├── SupervisorError             a request to the supervisor of processes failed
    │   ├── SupervisorUnreachable   no process listens at its socket, or the connection broke
    │   ├── SupervisorRunning       another supervisor uses this state folder
    │   ├── RequestInvalid          the message is not a request
    │   ├── ProcessUnknown          no process has that name
    │   ├── ProcessNotStarted       the program cannot be started
    │   └── ObserverTooSlow         lines arrived faster than they were read
    ├── DataplaneError              Envoy
    │   ├── EnvoyMissing            its program is not installed
    │   ├── EnvoyFailed             it exited, rejected its configuration or does not answer
    │   ├── RoutesRejected          it rejected a change of its routes
    │   └── RoutesLate              it did not confirm a change in time
    ├── GatewayError                a gateway, seen from a client or from itself
    │   ├── GatewayUnreachable      no gateway answers at the address
    │   ├── GatewayRunning          another gateway uses this data directory
    │   ├── AccessDenied            a missing token or key, or one without permission
    │   ├── AnswerInvalid           the answer does not come from a gateway of a known version
    │   ├── UploadInvalid           the upload differs from its announcement
    │   └── BlobsMissing            the files of a deploy have not been uploaded
    └── CallError                   a call failed; the replica keeps running unless stated otherwise
        ├── BadRequest              the request is invalid
        │   ├── PathUnknown         nothing is served at this path
        │   ├── MethodNotAllowed    the path does not support this method
        │   ├── PreflightRefused    a CORS preflight that the handler does not answer
        │   └── HostNotAllowed      a Host that is not allowed (DNS rebinding)
        ├── BodyTooLarge            a body over the limit
        ├── BodyTooSlow             a body that arrives below the minimum rate
        ├── HandlerRaised           the handler raised
        ├── UnsupportedReply        the handler returned a value that cannot be sent
        ├── DeadlineExceeded        no reply before the deadline
        ├── Overloaded              the queue is full
        ├── NotReady                the replica is starting or draining
        └── ReplicaLost             the replica exited during the call

The fields of a class describe what happened. ``dcf.protocol.status_codes`` maps each class to its
numbers on the wire. Only the command line adds hints.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""``errno`` values that mean :class:`DiskFull`. A used-up quota is the same to the user."""


class DcfError(Exception):
    """The root of the tree. ``str(error)`` is a message for people."""


class ProjectError(DcfError):
    """The author's files, names or settings are invalid."""


class InvalidName(ProjectError):
    """A function's name breaks the naming rule."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"invalid function name {name!r}: {reason}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in a file or a setting.

    Attributes:
        line: Counted from 1; 0 if the problem has no place.
        column: Counted from 1; 0 if the problem has no place.
        message: What was expected, what was found, and a suggestion.
    """

    line: int
    column: int
    message: str


class ConfigError(ProjectError):
    """An invalid config.yaml or setting, with all its problems.

    Attributes:
        path: The file, or the name of the setting's variable.
        problems: All problems, in the file's order.
    """

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(self._located(problem) for problem in self.problems))

    def _located(self, problem: Problem) -> str:
        place = f":{problem.line}:{problem.column}" if problem.line else ""
        return f"{self.path}{place}: {problem.message}"


class FunctionNotFound(ProjectError):
    """The function, or its config.yaml, was not found.

    Attributes:
        near: Similar known names, best first.
    """

    def __init__(self, message: str, near: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.near = tuple(near)


class FunctionAmbiguous(ProjectError):
    """Several functions match."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


class FolderExists(ProjectError):
    """``init`` does not overwrite an existing folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} already exists; nothing was written")
        self.path = path


class SecretNotFound(ProjectError):
    """A secret or an environment file is missing.

    Attributes:
        expected: Where it should be; None for a secret that config.yaml does not name.
    """

    def __init__(self, name: str, expected: Path | None) -> None:
        if expected:
            super().__init__(f"{name!r} was not found: expected a file at {expected}")
        else:
            super().__init__(f"{name!r} is not listed under `secrets` in config.yaml")
        self.name = name
        self.expected = expected


class SpecInvalid(ProjectError):
    """A client sent an invalid spec or number of replicas. The message names the field."""


class RolloutInvalid(ProjectError):
    """A canary, promotion or abort has nothing to act on."""


class NameTaken(ProjectError):
    """The name is already in use."""


class BuildError(DcfError):
    """The function could not be built.

    Attributes:
        output: The last lines of the failed tool's output; may be "".
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class RequirementsInvalid(BuildError):
    """requirements.txt cannot be parsed, or names a path outside the function's folder."""


class PackageNotFound(BuildError):
    """No index has the package, or no version of it matches."""


class VersionConflict(BuildError):
    """Requirements conflict with each other."""


class InterpreterNotFound(BuildError):
    """The Python version that the function requires is not available."""


class IndexUnreachable(BuildError):
    """The package index did not answer, and the cache does not have the packages."""


class InstallFailed(BuildError):
    """A package was found, but it does not build or install."""


class BuildTimeout(BuildError):
    """The build exceeded its time limit and was stopped."""


class BundleInvalid(BuildError):
    """A file of the function's folder cannot be part of a bundle."""


class StorageError(DcfError):
    """A file could not be written or read."""


class DiskFull(StorageError):
    """The disk is full, or the user's quota is used up."""


class CatalogUnusable(StorageError):
    """The catalog's file cannot be used. It was not changed."""


class GpuUnavailable(DcfError):
    """The function requires more GPUs than are free."""

    def __init__(self, wanted: int, free: int, present: int) -> None:
        super().__init__(f"expected {wanted} free GPU(s), got {free} of {present} on this machine")
        self.wanted = wanted
        self.free = free
        self.present = present


class StartError(DcfError):
    """A replica did not become ready.

    Attributes:
        traceback: The traceback from the first line of the author's code on; may be "".
    """

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class HandlerNotFound(StartError):
    """The handler's file, or the class or function in it, is missing."""


class HandlerImportFailed(StartError):
    """The handler's file could not be imported."""


class HandlerInitFailed(StartError):
    """The handler's constructor raised."""


class StartTimeout(StartError):
    """The replica was not ready in time."""


class ConfinementFailed(StartError):
    """The limits of the replica's process cannot be enforced, or its GPUs cannot be reserved."""


class ReplicaExited(StartError):
    """The replica's process exited before it was ready."""


class AddressInUse(StartError):
    """The address to listen on is in use, or is not an address of this machine."""


class ReplicaUnknown(DcfError):
    """An engine has no replica with that id."""


class SupervisorError(DcfError):
    """A request to the supervisor of processes failed."""


class SupervisorUnreachable(SupervisorError):
    """No process listens at the supervisor's socket, or the connection broke."""


class SupervisorRunning(SupervisorError):
    """Another supervisor uses this state folder."""


class RequestInvalid(SupervisorError):
    """The message to the supervisor is not a request."""


class ProcessUnknown(SupervisorError):
    """The supervisor has no process with that name."""


class ProcessNotStarted(SupervisorError):
    """The program cannot be started."""


class ObserverTooSlow(SupervisorError):
    """Lines arrived faster than they were read, so the stream was closed."""


class DataplaneError(DcfError):
    """Envoy, the data plane, failed."""


class EnvoyMissing(DataplaneError):
    """Envoy's program is not installed."""


class EnvoyFailed(DataplaneError):
    """Envoy exited, rejected its configuration, or does not answer."""


class RoutesRejected(DataplaneError):
    """Envoy rejected a change of its clusters or endpoints."""


class RoutesLate(DataplaneError):
    """Envoy did not confirm a change of its clusters or endpoints in time."""


class GatewayError(DcfError):
    """A gateway cannot be reached, understood or started."""


class GatewayUnreachable(GatewayError):
    """No gateway answers at the address."""


class GatewayRunning(GatewayError):
    """Another gateway uses this data directory."""


class AccessDenied(GatewayError):
    """The token or key is missing, wrong or revoked, or does not permit the request."""


class AnswerInvalid(GatewayError):
    """The answer does not come from a gateway, or from one of an unknown version."""


class UploadInvalid(GatewayError):
    """The upload is not the announced blob, or not its next part.

    Attributes:
        offset: Where the client must continue, in bytes.
    """

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


class BlobsMissing(GatewayError):
    """The gateway lacks blobs of the deploy. They must be uploaded first."""


class CallError(DcfError):
    """A call failed."""


class BadRequest(CallError):
    """The request is invalid."""


class PathUnknown(BadRequest):
    """Nothing is served at this path."""


class MethodNotAllowed(BadRequest):
    """The path does not support this method."""


class PreflightRefused(BadRequest):
    """The handler does not answer CORS preflights."""


class HostNotAllowed(BadRequest):
    """The request's ``Host`` is not a name that the server allows (HTTP 421)."""


class BodyTooLarge(CallError):
    """The request's body is over the limit (bytes)."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than the limit of {limit} bytes")
        self.limit = limit


class BodyTooSlow(CallError):
    """The request's body arrives below the minimum rate."""


class HandlerRaised(CallError):
    """The handler raised.

    Attributes:
        exception: The exception's type, with its module.
        traceback: The author's traceback; may be "".
    """

    def __init__(self, message: str, exception: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.exception = exception
        self.traceback = traceback


class UnsupportedReply(CallError):
    """The handler returned a value that cannot be sent."""


class DeadlineExceeded(CallError):
    """No reply before the deadline."""


class Overloaded(CallError):
    """All slots are in use and the queue is full.

    Attributes:
        retry_after: Seconds after which the caller should retry.
    """

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReady(CallError):
    """The replica is starting or draining."""


class ReplicaLost(CallError):
    """The replica's process exited, or stopped answering, during the call."""
