"""The course of a deploy: announce, upload what is missing, deploy, wait.

Each step is a request that the caller, plain or async, sends; what comes of it is sent in here. So
the course, with all that can break on the way, is written once.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Protocol

from dcf import errors
from dcf.client import operations
from dcf.client.exchange import CHUNK
from dcf.client.operation import Operation
from dcf.model.artifact import Bundle
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaState
from dcf.model.spec_json import spec_to_json
from dcf.model.status import Failure, FunctionState, FunctionStatus, MissingBlob
from dcf.protocol import gateway
from dcf.protocol.problem import error_of
from dcf.protocol.progress import Progress, ProgressKind

TRIES = 5
"""Times that an upload goes on after a break without having come any further."""
SILENCE = 30.0
"""Seconds without a line after which a gateway that deploys is given up; it sends one every 5."""
PAUSE = 0.2
"""Seconds, doubled with each try: five tries outlast a control plane that is started again."""
POLL = 0.5
"""Seconds between two looks at a function whose deploy cannot be followed any more."""
AWAY = (errors.GatewayUnreachable, errors.NotReady, errors.ReplicaLost)
"""A gateway that may be back in a moment: gone as a whole, or its control plane behind Envoy."""


class Deployable(Protocol):
    """What can be deployed: a build."""

    @property
    def spec(self) -> FunctionSpec:
        """The function."""

    @property
    def bundle(self) -> Bundle:
        """Its files."""

    @property
    def lock(self) -> str:
        """The text of its lock."""

    def open(self, digest: str) -> BinaryIO:
        """Opens a blob of the bundle, seekable, to be read."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How a build is to be deployed.

    Attributes:
        minimum: Never fewer replicas; None leaves what is.
        maximum: Never more replicas; None leaves what is.
        annotations: Free key-value pairs; None leaves what is.
        canary: Percent of the calls that it is to get; None makes it the current revision.
        wait: Whether to wait until replicas are ready.
        timeout: Seconds to wait for that.
    """

    minimum: int | None
    maximum: int | None
    annotations: Mapping[str, str] | None
    canary: float | None
    wait: bool
    timeout: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is to be done for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Following:
    """A request whose reply is lines; each goes to ``take``, until that returns the last."""

    operation: Operation[bytes]
    take: Callable[[bytes], FunctionStatus | None]


Step = Operation[Any] | Following | Pause
Course = Generator[Step, Any, FunctionStatus]
Tell = Callable[[Progress], object]


def deploy(build: Deployable, wish: Wish, tell: Tell) -> Course:
    """Deploys a build.

    Args:
        build: What to deploy.
        wish: How.
        tell: Called with each line of progress.

    Raises:
        DcfError: Whatever went wrong, as itself.
    """
    bundle, lock = yield from _upload(build, tell)
    members = {
        "spec": json.loads(spec_to_json(build.spec)),
        "bundle": bundle,
        "lock": lock,
        "minimum": wish.minimum,
        "maximum": wish.maximum,
        "annotations": None if wish.annotations is None else dict(wish.annotations),
        "canary": wish.canary,
        "wait": wish.wait,
        "timeout": wish.timeout,
    }
    operation = operations.send("POST", gateway.FUNCTIONS, members, bytes)
    headers = (*operation.headers, ("accept", gateway.JSON_LINES))
    ending = _Ending(tell)
    try:
        function = yield Following(
            replace(operation, headers=headers, silence=SILENCE), ending.take
        )
    except (*AWAY, errors.DeadlineExceeded):
        if not ending.revision or ending.is_over:
            raise
        revision = ending.revision
        function = yield from watch(
            build.spec.name, lambda now: _is_done(now, revision, wish), wish.timeout, POLL
        )
    return function  # type: ignore[no-any-return]  # what a step gives depends on the step


class _Ending:
    """Looks for the line with which a deploy ends."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.revision = 0
        self.is_over = False

    def take(self, line: bytes) -> FunctionStatus | None:
        """Tells what a line says; returns the function when it is the last one."""
        reading = Operation("POST", gateway.FUNCTIONS, Progress.from_line)
        progress = reading.parsed(line)
        self._tell(progress)
        if progress.kind is ProgressKind.REVISION:
            self.revision = progress.number
        elif progress.kind is ProgressKind.FAILED:
            self.is_over = True
            raise error_of(progress.problem)
        return progress.function


def _upload(build: Deployable, tell: Tell) -> Generator[Step, Any, tuple[str, str]]:
    """Sends what the gateway lacks; returns the digests of bundle and lock."""
    started = time.monotonic()
    detail, least, failures = "", math.inf, 0
    trouble: errors.DcfError | None = None
    while True:
        try:
            bundle, lock, missing = yield operations.announce(build.bundle.files, build.lock)
            left = sum(one.size - one.offset for one in missing)
            failures, least = (failures, least) if left >= least else (0, left)
            if not missing:
                break
            if trouble is None:
                detail = f"{_count(len(missing))}, {_amount(left)}"
                tell(Progress(ProgressKind.STARTED, "upload", detail))
            for one in missing:
                yield _blob(build, one)
            break
        except (*AWAY, errors.UploadInvalid) as error:
            if not detail:
                raise
            trouble, failures = error, failures + 1
        if failures >= TRIES:
            raise errors.GatewayUnreachable(
                f"the upload broke off {TRIES} times without coming any further: {trouble}"
            ) from trouble
        yield Pause(PAUSE * 2**failures)
    if detail:
        seconds = time.monotonic() - started
        tell(Progress(ProgressKind.FINISHED, "upload", detail, seconds=seconds))
    return bundle, lock


def _blob(build: Deployable, one: MissingBlob) -> Operation[None]:
    content = _content(build, one)
    return operations.put_blob(one.digest, one.offset, one.size - one.offset, content)


def _content(build: Deployable, one: MissingBlob) -> Iterator[bytes]:
    with build.open(one.digest) as file:
        file.seek(one.offset)
        while part := file.read(CHUNK):
            yield part


def watch(
    name: str, is_over: Callable[[FunctionStatus], bool], patience: float, pause: float
) -> Course:
    """Looks at a function again and again.

    Args:
        name: The function's name.
        is_over: Whether nothing is left to wait for; what it raises ends the wait as well.
        patience: Seconds to wait.
        pause: Seconds between two looks.

    Raises:
        StartTimeout: When the time is up.
    """
    until = time.monotonic() + patience
    while True:
        try:
            function: FunctionStatus = yield operations.function(name)
        except (*AWAY, errors.DeadlineExceeded):
            if time.monotonic() > until:
                raise
        else:
            if is_over(function):
                return function
        if time.monotonic() > until:
            raise errors.StartTimeout(f"{name} was not ready within {patience:g} s")
        yield Pause(pause)


def _is_done(function: FunctionStatus, revision: int, wish: Wish) -> bool:
    """Whether a revision that is in the catalog, and whose deploy cannot be followed any more, is
    as far as was wished.
    """
    deployed = function.revision if wish.canary is None else function.canary
    if not wish.wait or deployed != revision:
        return True  # nobody waits, or somebody has deployed another one meanwhile
    if wish.canary is not None:
        return not function.replicas or any(
            one.revision == revision and one.state == ReplicaState.READY
            for one in function.replica_list
        )
    if function.state is FunctionState.CRASH_LOOP and function.failure is not None:
        raise failure_of(function.failure)
    return function.state in {FunctionState.READY, FunctionState.IDLE}


def failure_of(failure: Failure) -> errors.DcfError:
    """The error that a replica's end stands for."""
    return error_of(
        {
            "detail": failure.detail,
            "error": failure.error or errors.StartError.__name__,
            "traceback": failure.traceback,
        }
    )


def nobody_listens(_progress: Progress) -> None:
    """Takes progress for which nobody asked."""


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


def _amount(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004  the next unit
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
