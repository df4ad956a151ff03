"""The methods of ``pb.Gateway``, without those that call functions."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
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
"""Maximum lines of a log in a reply of GetLog, the last ones."""

LOG_SIZE = 1024**2
"""Maximum bytes of these lines. Clients accept messages of up to 4 MB."""

MARGIN = 0.5
"""Seconds before the client's deadline at which Deploy replies that the start continues."""

Method = Callable[[Any, float], Awaitable[Any]]
"""Returns the reply to a request, given the seconds that the client waits."""


class Servicer:
    """The methods by name."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
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

    async def _list(self, _request: Any, _remaining: float) -> Any:
        return Functions(Functions=map(_function, await self._service.functions()))

    async def _get_meta(self, request: Any, _remaining: float) -> Any:
        return _function(await self._service.function(check_name(request.FunctionName)))

    async def _get_log(self, request: Any, _remaining: float) -> Any:
        kept: deque[str] = deque()
        size = 0
        lines = self._service.logs(check_name(request.FunctionName), tail=LINES)
        async with contextlib.aclosing(lines):
            async for line in lines:
                kept.append(_formatted(line))
                size += len(kept[-1].encode())
                while size > LOG_SIZE:
                    size -= len(kept.popleft().encode())
        return Message(Msg="".join(kept))

    async def _info(self, _request: Any, _remaining: float) -> Any:
        return Message(Msg=json.dumps(members_of(await self._service.info())))

    async def _health_check(self, _request: Any, _remaining: float) -> Any:
        return Message(Msg="ok")

    async def _deploy(self, request: Any, remaining: float) -> Any:
        return await self._apply(request, remaining, is_update=False)

    async def _update(self, request: Any, remaining: float) -> Any:
        return await self._apply(request, remaining, is_update=True)

    async def _apply(self, request: Any, remaining: float, *, is_update: bool) -> Any:
        timeout = max(0.1, min(remaining - MARGIN, TIMEOUT))
        deployment = await deployment_of(self._service, request, timeout, is_update=is_update)
        last = Progress(ProgressKind.PING)
        try:
            async with contextlib.aclosing(self._service.deploy(deployment)) as steps:
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

    async def _delete(self, request: Any, _remaining: float) -> Any:
        await self._service.delete(check_name(request.FunctionName))
        return Message(Msg=f"{request.FunctionName} is deleted")

    async def _replica_update(self, request: Any, _remaining: float) -> Any:
        function = await self._service.scale(check_name(request.ServiceName), request.Replicas)
        return Message(
            Msg=f"{function.name}: {function.replicas} replicas requested, {function.ready} ready"
        )


def _function(function: FunctionStatus) -> Any:
    return Function(
        Name=function.name,
        Image=function.artifact,
        InvocationCount=function.invocations,
        Replicas=function.replicas,
        AvailableReplicas=function.ready,
        Annotations=_texts(function.annotations),
        Labels=_texts(function.labels),
    )


def _texts(pairs: Mapping[str, str]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in pairs.items()}


def _text(text: str) -> str:
    """Return text that protobuf accepts: it rejects half of a surrogate pair."""
    return text.encode(errors="replace").decode()


def _formatted(line: ReplicaLine) -> str:
    at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
    return _text(f"{at.replace('+00:00', 'Z')} {line.replica} {line.text}\n")
