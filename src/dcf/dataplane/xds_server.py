"""The discovery service, from which Envoy gets the functions and the endpoints of their replicas.

Envoy connects to a Unix socket and keeps one stream open (ADS, incremental). Clusters are sent
first; Envoy then requests the endpoints of each, so it never uses a function without them. If the
stream breaks, Envoy keeps what it has and reconnects; its first request lists what it has, and only
the differences are sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from dcf.dataplane.xds_resources import Packed, assignment, cluster
from dcf.dataplane.xds_stream import XdsStream
from dcf.dataplane.xds_subscription import Change
from dcf.errors import RoutesLate, RoutesRejected
from dcf.model.endpoint import Endpoint
from dcf.model.routing import CallLimits, Destination
from dcf.rpc import xds_messages
from dcf.rpc.grpc_server import start_on

logger = logging.getLogger("dcf.dataplane")

LINGER = 0.5
"""Seconds for which a function that has lost its last replica keeps its cluster, with the
activation listener as its endpoint. Calls that Envoy was just sending are retried within 0.05 s,
and so reach the activation listener."""

Key = tuple[str, str]
"""Type URL and name of a resource."""


class XdsServer:
    """Sends resources to Envoy, and tracks which ones Envoy has applied.

    It belongs to one event loop. Fill it before :meth:`start`: an empty service makes a running
    Envoy remove every function.
    """

    def __init__(self, cold: Path | None = None) -> None:
        """Create a service without functions.

        Args:
            cold: Path of the activation listener's socket; None if Envoy has no such listener.
        """
        self.passed_over: set[str] = set()
        """Functions whose routes Envoy has rejected; confirmation does not wait for them."""
        self._cold = None if cold is None else Destination(str(Endpoint(path=str(cold))))
        self._going: dict[str, asyncio.TimerHandle] = {}
        self._resources: dict[str, dict[str, Packed]] = {
            xds_messages.CLUSTER: {},
            xds_messages.ASSIGNMENT: {},
        }
        self._version = 0
        self._changed: dict[Key, int] = {}
        """The version that changed a resource last, until Envoy has it."""
        self._rejected: dict[Key, str] = {}
        self._streams: set[XdsStream] = set()
        self._progress = asyncio.Condition()
        self._server: Any = None

    @property
    def connected(self) -> bool:
        """Whether an Envoy is connected."""
        return bool(self._streams)

    async def start(self, path: Path) -> None:
        """Start to listen.

        Args:
            path: Path of the Unix socket, in a private folder.

        Raises:
            AddressInUse: If the socket cannot be opened.
        """
        server = grpc.aio.server()
        methods = {
            xds_messages.STREAM_METHOD: grpc.stream_stream_rpc_method_handler(
                self._serve,
                request_deserializer=xds_messages.DeltaDiscoveryRequest.FromString,
                response_serializer=xds_messages.DeltaDiscoveryResponse.SerializeToString,
            )
        }
        handler = grpc.method_handlers_generic_handler(xds_messages.SERVICE, methods)
        server.add_generic_rpc_handlers((handler,))
        await start_on(path, server)
        self._server = server

    async def stop(self) -> None:
        """Stop the service. Envoy keeps what it has."""
        for going in self._going.values():
            going.cancel()
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def set_function(
        self, name: str, destinations: Sequence[Destination], limits: CallLimits
    ) -> int:
        """Set the destinations of a function's calls. Without destinations, calls get 503.

        A destination that is removed gets no new calls; its calls in progress continue.

        Returns:
            The version for :meth:`wait_applied`.

        Raises:
            ValueError: If an endpoint is invalid.
        """
        if (going := self._going.pop(name, None)) is not None:
            going.cancel()
        return self._set(
            name,
            {
                xds_messages.CLUSTER: cluster(name, limits),
                xds_messages.ASSIGNMENT: assignment(name, destinations),
            },
        )

    def remove_function(self, name: str) -> int:
        """Remove a function. Its calls then go to the activation listener.

        Returns:
            The version for :meth:`wait_applied`. Once it is applied, no call goes to a replica.
        """
        if self._cold is None or name not in self._resources[xds_messages.CLUSTER]:
            return self._forget(name)
        self._linger(name)
        return self._set(name, {xds_messages.ASSIGNMENT: assignment(name, [self._cold])})

    def _linger(self, name: str) -> None:
        if name not in self._going:
            loop = asyncio.get_running_loop()
            self._going[name] = loop.call_later(LINGER, self._forget, name)

    def _redirect_unknown(self, names: Iterable[str]) -> None:
        """Redirect functions without replicas, which Envoy still has, to the activation listener.

        Args:
            names: Functions that Envoy has from a previous service. They may have lost their last
                replica meanwhile.
        """
        for name in names:
            if self._cold is not None and name not in self._resources[xds_messages.CLUSTER]:
                self._linger(name)
                known = {
                    xds_messages.CLUSTER: cluster(name, CallLimits()),
                    xds_messages.ASSIGNMENT: assignment(name, [self._cold]),
                }
                self._set(name, known)

    def _set(self, name: str, new: dict[str, Packed]) -> int:
        changed = [
            kind for kind, packed in new.items() if self._resources[kind].get(name) != packed
        ]
        for kind in changed:
            self._resources[kind][name] = new[kind]
        return self._change([(kind, name) for kind in changed])

    def _forget(self, name: str) -> int:
        self._going.pop(name, None)
        known = [kind for kind in self._resources if self._resources[kind].pop(name, None)]
        return self._change([(kind, name) for kind in known])

    async def wait_applied(self, version: int, timeout: float) -> None:  # noqa: ASYNC109  it names what was late
        """Wait until Envoy has applied all changes up to a version.

        Args:
            version: The result of :meth:`set_function` or :meth:`remove_function`.
            timeout: Maximum seconds.

        Raises:
            RoutesRejected: If Envoy rejected one of the changes.
            RoutesLate: If the time is up, or Envoy is not connected.
        """
        try:
            async with asyncio.timeout(timeout), self._progress:
                await self._progress.wait_for(lambda: self._applied(version))
        except TimeoutError:
            if self.connected:
                message = f"Envoy has not applied change {version} within {timeout:g} s"
            else:
                message = f"Envoy has not connected within {timeout:g} s (change {version})"
            raise RoutesLate(message) from None

    def _change(self, keys: Sequence[Key]) -> int:
        if keys:
            self._version += 1
            for key in keys:
                self._changed[key] = self._version
                self._rejected.pop(key, None)
            for stream in self._streams:
                stream.wake.set()
        return self._version

    def unapplied(self) -> dict[str, str]:
        """Return the functions whose latest change Envoy has not applied, and why.

        The reason is "" if Envoy has not answered yet.
        """
        reasons: dict[str, str] = {}
        for key in self._changed:
            reasons[key[1]] = reasons.get(key[1]) or self._rejected.get(key, "")
        return reasons

    def _applied(self, version: int) -> bool:
        for key, changed in self._changed.items():
            if changed <= version and key[1] not in self.passed_over:
                if key in self._rejected:
                    raise RoutesRejected(f"Envoy rejects {key[1]}: {self._rejected[key]}")
                return False
        return True

    async def _serve(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        stream = XdsStream()
        self._streams.add(stream)
        reader = asyncio.ensure_future(self._read(stream, requests))
        try:
            while not reader.done():
                stream.wake.clear()
                for message in stream.due(self._resources):
                    yield message
                await stream.wake.wait()
        finally:
            self._streams.discard(stream)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.RpcError):
                await reader

    async def _read(self, stream: XdsStream, requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                if request.type_url == xds_messages.CLUSTER:
                    self._redirect_unknown(request.initial_resource_versions)
                change = stream.accept(request)
                if change is not None and request.HasField("error_detail"):
                    self._refused(request, change)
                await self._settle(stream)
                stream.wake.set()
        finally:
            stream.wake.set()

    def _refused(self, request: Any, change: Change) -> None:
        reason = request.error_detail.message or "no reason given"
        names = [*change.resources, *change.removed]
        if change.size > 1:
            logger.warning("Envoy rejects a change of %d resources: %s", change.size, reason)
            return  # each resource is sent again alone
        logger.error("Envoy rejects %s of %s: %s", request.type_url, ", ".join(names), reason)
        for name in names:
            self._rejected[request.type_url, name] = reason

    async def _settle(self, stream: XdsStream) -> None:
        """Remove the changes that Envoy has applied."""
        for kind, name in tuple(self._changed):
            packed = self._resources[kind].get(name)
            if stream.accepted(kind, name) == (packed.version if packed else None):
                del self._changed[kind, name]
        async with self._progress:
            self._progress.notify_all()
