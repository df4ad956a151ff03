"""Every error of the project, as one tree.

::

    DcfError
    ├── ProjectError                what the author wrote
    │   ├── InvalidName             a function's name breaks the naming rule
    │   ├── ConfigError             config.yaml, with file, line and column of every problem
    │   ├── FunctionNotFound        no function of that name, or no config.yaml where one was sought
    │   ├── FunctionAmbiguous       several functions and none named, or two that differ
    │   ├── FolderExists            init refuses to overwrite
    │   ├── SecretNotFound          a named secret or environment file is missing
    │   ├── SpecInvalid             a spec or a number of replicas that came over the wire
    │   ├── RolloutInvalid          a canary, a promotion or an abort that has nothing to act on
    │   └── NameTaken               what is to be created is there already
    ├── BuildError                  the environment or the bundle could not be made
    │   ├── RequirementsInvalid     requirements.txt cannot be read
    │   ├── PackageNotFound         a package or version that no index has
    │   ├── VersionConflict         pins that exclude one another, or the watcher's own needs
    │   ├── InterpreterNotFound     no such Python here, and none could be fetched
    │   ├── IndexUnreachable        no network, and the cache does not have it
    │   ├── InstallFailed           a package that does not build or install
    │   ├── BuildTimeout            the build exceeded its time limit
    │   └── BundleInvalid           a file that cannot be part of a bundle
    ├── StorageError                the disk
    │   ├── DiskFull
    │   └── CatalogUnusable         the gateway's catalog: damaged, foreign, or too new
    ├── GpuUnavailable              more GPUs wanted than are free
    ├── StartError                  a replica that never became ready
    │   ├── HandlerNotFound         the file or the name in it is missing
    │   ├── HandlerImportFailed     the file does not import (syntax error included)
    │   ├── HandlerInitFailed       the constructor raised
    │   ├── StartTimeout            the constructor takes longer than it may
    │   ├── ConfinementFailed       the process cannot be held to its limits
    │   ├── ReplicaExited           the process ended before it was ready
    │   └── AddressInUse            the address to listen on is taken or not to be had
    ├── ReplicaUnknown              an engine knows no replica of that id
    ├── SupervisorError             a request to the supervisor of processes went wrong
    │   ├── SupervisorUnreachable   nobody listens at its socket, or the connection broke
    │   ├── SupervisorRunning       another one has this state folder
    │   ├── RequestInvalid          what was sent is no request
    │   ├── ProcessUnknown          no process of that name
    │   ├── ProcessNotStarted       the program cannot be started
    │   └── ObserverTooSlow         lines came faster than they were read
    ├── DataplaneError              Envoy, which passes the calls on
    │   ├── EnvoyMissing            its program is not installed
    │   ├── EnvoyFailed             it ended, refused its configuration or does not answer
    │   ├── RoutesRejected          it refused a change of its routes
    │   └── RoutesLate              it has not taken a change in time
    ├── GatewayError                talking with a gateway, or being one
    │   ├── GatewayUnreachable      nobody answers at its address
    │   ├── GatewayRunning          another one has this data directory
    │   ├── AccessDenied            no token or key, or one that is not good for this
    │   ├── AnswerInvalid           what answered is no gateway, or not one that can be understood
    │   ├── UploadInvalid           what was uploaded is not what was announced
    │   └── BlobsMissing            what is to be deployed has not been uploaded
    └── CallError                   one call went wrong; the replica lives on unless said otherwise
        ├── BadRequest              a request that cannot be passed on
        │   ├── PathUnknown         there is nothing at this path
        │   ├── MethodNotAllowed    not with this method
        │   ├── PreflightRefused    a CORS preflight that the handler does not answer
        │   └── HostNotAllowed      a Host that is not allowed (DNS rebinding)
        ├── BodyTooLarge            a body over the limit
        ├── BodyTooSlow             a body that arrives below the minimum rate
        ├── HandlerRaised           the handler raised
        ├── UnsupportedReply        the handler returned what cannot be sent
        ├── DeadlineExceeded        no reply in time
        ├── Overloaded              the queue is full
        ├── NotReady                the replica is starting or draining
        └── ReplicaLost             the replica ended during the call

A class carries what happened, as fields. What it means on the wire is looked up in
``dcf.protocol.status_codes``; what to do about it is said by the CLI alone.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Codes of an ``OSError`` that means :class:`DiskFull`: for the user, a spent quota is the same."""


class DcfError(Exception):
    """The root of the tree. ``str(error)`` is one sentence or more for people."""


class ProjectError(DcfError):
    """Something in what the author wrote is wrong."""


class InvalidName(ProjectError):
    """A function's name breaks the naming rule."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} is no name for a function: {reason}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a file.

    Attributes:
        line: Counted from 1; 0 when the fault has no place.
        column: Counted from 1; 0 when the fault has no place.
        message: What was found, what is allowed, and the nearest known word.
    """

    line: int
    column: int
    message: str


class ConfigError(ProjectError):
    """A config.yaml that cannot be used. Carries every problem found, not only the first."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(self._located(problem) for problem in self.problems))

    def _located(self, problem: Problem) -> str:
        place = f":{problem.line}:{problem.column}" if problem.line else ""
        return f"{self.path}{place}: {problem.message}"


class FunctionNotFound(ProjectError):
    """No function of that name where it was sought.

    Attributes:
        near: Known names that resemble the one asked for, best first.
    """

    def __init__(self, message: str, near: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.near = tuple(near)


class FunctionAmbiguous(ProjectError):
    """More than one function fits."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


class FolderExists(ProjectError):
    """``init`` found something where it would write."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists already; nothing was written")
        self.path = path


class SecretNotFound(ProjectError):
    """A secret or an environment file that config.yaml names is not there.

    Attributes:
        expected: Where it was sought; None for a secret that config.yaml does not name.
    """

    def __init__(self, name: str, expected: Path | None) -> None:
        unnamed = "is not under `secrets` in config.yaml"
        super().__init__(f"{name!r} {f'is not at {expected}' if expected else unnamed}")
        self.name = name
        self.expected = expected


class SpecInvalid(ProjectError):
    """What a client sent to be deployed or scaled breaks a rule; the message names the field."""


class RolloutInvalid(ProjectError):
    """A canary, a promotion or an abort that has nothing to act on."""


class NameTaken(ProjectError):
    """Something of that name exists and is not replaced."""


class BuildError(DcfError):
    """The function could not be built.

    Attributes:
        output: The last lines of the tool that failed; empty when there were none.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class RequirementsInvalid(BuildError):
    """requirements.txt cannot be read, or names a path outside the function's folder."""


class PackageNotFound(BuildError):
    """No index has the package, or none of its versions fits."""


class VersionConflict(BuildError):
    """Requirements that exclude one another."""


class InterpreterNotFound(BuildError):
    """The Python that the function asks for is not to be had."""


class IndexUnreachable(BuildError):
    """The package index did not answer and the cache does not have what is needed."""


class InstallFailed(BuildError):
    """A package was found and would not build or install."""


class BuildTimeout(BuildError):
    """The build exceeded its time limit and was ended."""


class BundleInvalid(BuildError):
    """A file of the function's folder cannot be part of a bundle."""


class StorageError(DcfError):
    """A file could not be written or read."""


class DiskFull(StorageError):
    """No space is left where the project writes."""


class CatalogUnusable(StorageError):
    """The catalog's file cannot be used; nothing in it was changed."""


class GpuUnavailable(DcfError):
    """The function asks for more GPUs than are free."""

    def __init__(self, wanted: int, free: int, present: int) -> None:
        super().__init__(f"{wanted} GPU(s) wanted, {free} free of {present} on this machine")
        self.wanted = wanted
        self.free = free
        self.present = present


class StartError(DcfError):
    """A replica did not become ready.

    Attributes:
        traceback: The author's traceback, from the first line of the author's code on; may be "".
    """

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class HandlerNotFound(StartError):
    """The handler's file, or the class or function in it, is missing."""


class HandlerImportFailed(StartError):
    """The handler's file does not import."""


class HandlerInitFailed(StartError):
    """The handler's constructor raised."""


class StartTimeout(StartError):
    """The replica was not ready in time."""


class ConfinementFailed(StartError):
    """The replica's process cannot be held to its limits, or cannot have its GPUs."""


class ReplicaExited(StartError):
    """The replica's process ended before it was ready."""


class AddressInUse(StartError):
    """The address to listen on is taken, or is not this machine's."""


class ReplicaUnknown(DcfError):
    """An engine knows no replica of that id."""


class SupervisorError(DcfError):
    """The supervisor of processes refused, or could not be asked."""


class SupervisorUnreachable(SupervisorError):
    """Nobody listens at the supervisor's socket, or the connection broke."""


class SupervisorRunning(SupervisorError):
    """Another supervisor has this state folder."""


class RequestInvalid(SupervisorError):
    """What was sent to the supervisor is no request."""


class ProcessUnknown(SupervisorError):
    """The supervisor knows no process of that name."""


class ProcessNotStarted(SupervisorError):
    """The program cannot be started."""


class ObserverTooSlow(SupervisorError):
    """Lines came faster than they were read, and the stream was ended."""


class DataplaneError(DcfError):
    """Something is wrong with Envoy, which passes the calls on."""


class EnvoyMissing(DataplaneError):
    """Envoy's program is not installed."""


class EnvoyFailed(DataplaneError):
    """Envoy ended, refused its configuration, or does not answer."""


class RoutesRejected(DataplaneError):
    """Envoy refused a change of its clusters or endpoints."""


class RoutesLate(DataplaneError):
    """Envoy has not taken a change of its clusters or endpoints in time."""


class GatewayError(DcfError):
    """A gateway cannot be reached, understood or started."""


class GatewayUnreachable(GatewayError):
    """Nobody answers at the gateway's address."""


class GatewayRunning(GatewayError):
    """Another gateway has this data directory."""


class AccessDenied(GatewayError):
    """The token or key is missing, wrong, revoked, or not good for what was asked."""


class AnswerInvalid(GatewayError):
    """What answered is no gateway, or one of a version that cannot be understood."""


class UploadInvalid(GatewayError):
    """What was sent is not the blob that was announced, or not the part of it that comes next.

    Attributes:
        offset: Where sending is to go on, in bytes.
    """

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


class BlobsMissing(GatewayError):
    """The gateway does not have all that is to be deployed; it must be uploaded first."""


class CallError(DcfError):
    """One call failed."""


class BadRequest(CallError):
    """The request itself is at fault."""


class PathUnknown(BadRequest):
    """There is nothing at this path."""


class MethodNotAllowed(BadRequest):
    """What is at this path does not take this method."""


class PreflightRefused(BadRequest):
    """A CORS preflight for a function whose handler does not answer preflights."""


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
        exception: The exception's type, as the author would import it.
        traceback: The author's traceback; may be "".
    """

    def __init__(self, message: str, exception: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.exception = exception
        self.traceback = traceback


class UnsupportedReply(CallError):
    """The handler returned something that cannot be sent."""


class DeadlineExceeded(CallError):
    """No reply before the deadline."""


class Overloaded(CallError):
    """All slots and the whole queue are taken.

    Attributes:
        retry_after: Seconds after which a new try makes sense.
    """

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReady(CallError):
    """The replica is starting or draining."""


class ReplicaLost(CallError):
    """The replica's process ended, or stopped answering, during the call."""
