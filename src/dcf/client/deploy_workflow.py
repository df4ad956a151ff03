"""A deploy: announce, upload what is missing, deploy, wait. With all that can break on the way."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

from dcf import errors
from dcf.client import operations
from dcf.client.http11 import CHUNK
from dcf.client.operation import Operation
from dcf.client.response import lines_of
from dcf.client.transport import Transport
from dcf.model.artifact import Bundle
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaState
from dcf.model.spec_json import spec_to_json
from dcf.model.status import Failure, FunctionState, FunctionStatus, MissingBlob
from dcf.protocol import gateway, routes
from dcf.protocol.problem import error_of
from dcf.protocol.progress import Progress, ProgressKind

MAX_FAILURES = 5
"""Consecutive failures without progress after which an upload is given up."""
SILENCE = 30.0
"""Maximum seconds between two lines of a deploy. The gateway sends a line every 5 seconds."""
RETRY_DELAY = 0.2
"""Seconds, doubled with each failure. Five failures outlast a restart of the control plane."""
POLL_INTERVAL = 0.5
"""Seconds between polls of a function after the connection of its deploy broke."""
AWAY = (errors.GatewayUnreachable, errors.NotReady, errors.ReplicaLost)
"""Errors of a gateway that may be back in a moment: all of it, or only its control plane."""


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
        """Open a blob of the bundle for reading; it must be seekable."""


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """How a build is deployed.

    Attributes:
        minimum: Minimum number of replicas; None leaves it unchanged.
        maximum: Maximum number of replicas; None leaves it unchanged.
        annotations: Free key-value pairs; None leaves them unchanged.
        canary: Percent of the calls for this revision; None makes it the current revision.
        wait: Whether to wait until replicas are ready.
        timeout: Maximum seconds to wait.
    """

    minimum: int | None
    maximum: int | None
    annotations: Mapping[str, str] | None
    canary: float | None
    wait: bool
    timeout: float


OnProgress = Callable[[Progress], object]


async def deploy(
    transport: Transport,
    build: Deployable,
    options: DeployOptions,
    on_progress: OnProgress | None,
) -> FunctionStatus:
    """Deploy a build.

    Args:
        transport: The gateway.
        build: What to deploy.
        options: How.
        on_progress: Called with each line of progress.

    Raises:
        DcfError: When something fails.
    """
    notify = on_progress or _ignore
    bundle, lock = await _upload(transport, build, notify)
    members = {
        "spec": json.loads(spec_to_json(build.spec)),
        "bundle": bundle,
        "lock": lock,
        "minimum": options.minimum,
        "maximum": options.maximum,
        "annotations": None if options.annotations is None else dict(options.annotations),
        "canary": options.canary,
        "wait": options.wait,
        "timeout": options.timeout,
    }
    operation = operations.send(routes.DEPLOY, members, Progress.from_line)
    headers = (*operation.headers, ("accept", gateway.JSON_LINES))
    operation = replace(operation, headers=headers, silence=SILENCE)
    revision = 0
    try:
        async with await transport.open(operation) as response:
            async for line in lines_of(response.chunks):
                progress = operation.parse(line)
                notify(progress)
                if progress.kind is ProgressKind.REVISION:
                    revision = progress.number
                elif progress.kind is ProgressKind.FAILED:
                    break
                elif progress.function is not None:
                    return progress.function
            else:
                raise operation.broken("the reply is incomplete")
    except (*AWAY, errors.DeadlineExceeded):
        if not revision:
            raise
        # The gateway continues to deploy a revision that it has reported.
        return await poll(
            transport,
            build.spec.name,
            lambda now: _is_done(now, revision, options),
            timeout=options.timeout,
            interval=POLL_INTERVAL,
        )
    raise error_of(progress.problem)


async def _upload(transport: Transport, build: Deployable, notify: OnProgress) -> tuple[str, str]:
    """Send the blobs that the gateway lacks; return the digests of bundle and lock."""
    started = time.monotonic()
    detail, least, failures = "", math.inf, 0
    trouble: errors.DcfError | None = None
    while True:
        try:
            bundle, lock, missing = await transport.send(
                operations.announce(build.bundle.files, build.lock)
            )
            left = sum(blob.size - blob.offset for blob in missing)
            failures, least = (failures, least) if left >= least else (0, left)
            if missing and trouble is None:
                detail = f"{_count(len(missing))}, {_amount(left)}"
                notify(Progress(ProgressKind.STARTED, "upload", detail))
            for blob in missing:
                await transport.send(_put(build, blob))
            break
        except (*AWAY, errors.UploadInvalid) as error:
            if not detail:
                raise
            trouble, failures = error, failures + 1
        if failures >= MAX_FAILURES:
            raise errors.GatewayUnreachable(
                f"the upload failed {MAX_FAILURES} times without progress: {trouble}"
            ) from trouble
        await transport.network.sleep(RETRY_DELAY * 2**failures)
    if detail:
        seconds = time.monotonic() - started
        notify(Progress(ProgressKind.FINISHED, "upload", detail, seconds=seconds))
    return bundle, lock


def _put(build: Deployable, blob: MissingBlob) -> Operation[None]:
    content = _content(build, blob)
    return operations.put_blob(blob.digest, blob.offset, blob.size - blob.offset, content)


def _content(build: Deployable, blob: MissingBlob) -> Iterator[bytes]:
    with build.open(blob.digest) as file:
        file.seek(blob.offset)
        while part := file.read(CHUNK):
            yield part


async def poll(
    transport: Transport,
    name: str,
    is_over: Callable[[FunctionStatus], bool],
    *,
    timeout: float,
    interval: float,
) -> FunctionStatus:
    """Poll a function until ``is_over`` returns true, and return its status.

    Args:
        transport: The gateway.
        name: The function's name.
        is_over: Whether there is nothing left to wait for. An exception ends the wait as well.
        timeout: Maximum seconds to wait.
        interval: Seconds between polls.

    Raises:
        StartTimeout: When the time is over.
    """
    until = time.monotonic() + timeout
    while True:
        try:
            function = await transport.send(operations.function(name))
        except (*AWAY, errors.DeadlineExceeded):
            if time.monotonic() > until:
                raise
        else:
            if is_over(function):
                return function
        if time.monotonic() > until:
            raise errors.StartTimeout(f"{name} was not ready within {timeout:g} s")
        await transport.network.sleep(interval)


def _is_done(function: FunctionStatus, revision: int, options: DeployOptions) -> bool:
    """Return whether a revision is deployed, according to the function's status."""
    deployed = function.revision if options.canary is None else function.canary
    if not options.wait or deployed != revision:
        return True  # no wait, or another revision was deployed meanwhile
    if options.canary is not None:
        return not function.replicas or any(
            replica.revision == revision and replica.state == ReplicaState.READY
            for replica in function.replica_list
        )
    if function.state is FunctionState.CRASH_LOOP and function.failure is not None:
        raise failure_of(function.failure)
    return function.state in {FunctionState.READY, FunctionState.IDLE}


def failure_of(failure: Failure) -> errors.DcfError:
    """Return the error with which a replica ended."""
    return error_of(
        {
            "detail": failure.detail,
            "error": failure.error or errors.StartError.__name__,
            "traceback": failure.traceback,
        }
    )


def _ignore(_progress: Progress) -> None:
    """Ignore a line of progress."""


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


def _amount(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004  the next unit
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
