"""The methods of ``pb.Gateway``, but for those that call functions."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from dcf.controlplane.deploy.deploy_request import TIMEOUT
from dcf.controlplane.grpc.deploy_message import deployment_of
from dcf.controlplane.service import GatewayService
from dcf.errors import StartTimeout
from dcf.model.names import check_name
from dcf.model.status import FunctionStatus, ReplicaLine
from dcf.protocol.gateway import members_of
from dcf.protocol.progress import Progress, ProgressKind
from dcf.rpc.gateway_messages import Function, Functions, Message

LINES = 1000
"""Lines of a log that GetLog tells: the last ones."""

LOG_SIZE = 1024**2
"""Bytes of them: clients take 4 MB, and long lines are cut before that."""

MARGIN = 0.5
"""Seconds before a client's deadline at which Deploy says that it goes on without him."""

Method = Callable[[Any, float], Awaitable[Any]]
"""Answers a request, given the seconds that its client waits."""


class Servicer:
    """Answers for the control plane."""

    def __init__(self, plane: GatewayService) -> None:
        self._plane = plane
        self.methods: dict[str, Method] = {
            "List": self._list,
            "Deploy": self._deploy,
            "Update": self._update,
            "Delete": self._delete,
            "GetMeta": self._get_meta,
            "GetLog": self._get_log,
            "ReplicaUpdate": self._replica_update,
            "Info": self._info,
            "HealthCheck": self._health_check,
        }

    async def _list(self, _request: Any, _patience: float) -> Any:
        return Functions(Functions=map(_function, await self._plane.functions()))

    async def _get_meta(self, request: Any, _patience: float) -> Any:
        return _function(await self._plane.function(check_name(request.FunctionName)))

    async def _get_log(self, request: Any, _patience: float) -> Any:
        last: deque[str] = deque()
        size = 0
        lines = self._plane.logs(check_name(request.FunctionName), tail=LINES)
        async with contextlib.aclosing(lines):
            async for line in lines:
                last.append(_written(line))
                size += len(last[-1].encode())
                while size > LOG_SIZE:
                    size -= len(last.popleft().encode())
        return Message(Msg="".join(last))

    async def _info(self, _request: Any, _patience: float) -> Any:
        return Message(Msg=json.dumps(members_of(await self._plane.info())))

    async def _health_check(self, _request: Any, _patience: float) -> Any:
        return Message(Msg="ok")

    async def _deploy(self, request: Any, patience: float) -> Any:
        return await self._set(request, patience, update=False)

    async def _update(self, request: Any, patience: float) -> Any:
        return await self._set(request, patience, update=True)

    async def _set(self, request: Any, patience: float, *, update: bool) -> Any:
        timeout = max(0.1, min(patience - MARGIN, TIMEOUT))
        wanted = await deployment_of(self._plane, request, timeout, update=update)
        last = Progress(ProgressKind.PING)
        try:
            async with contextlib.aclosing(self._plane.deploy(wanted)) as steps:
                async for step in steps:
                    last = step
        except StartTimeout as error:
            return Message(Msg=str(error))
        function = last.function
        if function is None:
            return Message(Msg=f"{request.Service} is deployed")
        number, ready, replicas = function.revision, function.ready, function.replicas
        return Message(
            Msg=f"{request.Service}: revision {number}, {ready} of {replicas} replicas ready"
        )

    async def _delete(self, request: Any, _patience: float) -> Any:
        await self._plane.delete(check_name(request.FunctionName))
        return Message(Msg=f"{request.FunctionName} is deleted")

    async def _replica_update(self, request: Any, _patience: float) -> Any:
        found = await self._plane.scale(check_name(request.ServiceName), request.Replicas)
        replicas, ready = found.replicas, found.ready
        return Message(Msg=f"{found.name}: {replicas} replicas wanted, {ready} ready")


def _function(found: FunctionStatus) -> Any:
    return Function(
        Name=found.name,
        Image=found.artifact,
        InvocationCount=found.invocations,
        Replicas=found.replicas,
        AvailableReplicas=found.ready,
        Annotations=_texts(found.annotations),
        Labels=_texts(found.labels),
    )


def _texts(given: Any) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in given.items()}


def _text(text: str) -> str:
    """What protobuf takes for one: half of a surrogate pair it does not."""
    return text.encode(errors="replace").decode()


def _written(line: ReplicaLine) -> str:
    at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
    return _text(f"{at.replace('+00:00', 'Z')} {line.replica} {line.text}\n")
