"""``python -m dcf.controlplane``: the composition root of the control plane's process.

The supervisor starts it, and restarts it if it is killed. All its durable state is in the catalog
and the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from dcf.builder.builder import Builder
from dcf.builder.retained import RetainedArtifacts
from dcf.builder.slots import Slots
from dcf.builder.store import Store, keep_private
from dcf.builder.uploads import Uploads
from dcf.builder.uv import Uv
from dcf.catalog.catalog import Catalog
from dcf.client.address import GATEWAY
from dcf.controlplane import token_files
from dcf.controlplane.activation.activator import Activator
from dcf.controlplane.activation.autoscaler import Autoscaler
from dcf.controlplane.activation.traffic_poller import TrafficPoller
from dcf.controlplane.auth import Authorizer
from dcf.controlplane.deploy.deploy_service import DeployService
from dcf.controlplane.ext_authz import ExtAuthz
from dcf.controlplane.grpc.server import GrpcServer
from dcf.controlplane.http.app import make_app
from dcf.controlplane.http.jwks import KeySet
from dcf.controlplane.http.server import HttpServer
from dcf.controlplane.loop import ControlLoop
from dcf.controlplane.replicas.rebalancer import Rebalancer
from dcf.controlplane.replicas.revocations import Revocations
from dcf.controlplane.route_publisher import RoutePublisher
from dcf.controlplane.service import GatewayService
from dcf.dataplane.bootstrap import Sockets
from dcf.dataplane.ext_authz_server import ExtAuthzServer
from dcf.dataplane.listener import REPLAYED
from dcf.dataplane.xds_server import XdsServer
from dcf.engines import registry
from dcf.errors import DcfError
from dcf.files.storage import writing
from dcf.model.endpoint import Endpoint
from dcf.net.parent import watch_parent
from dcf.settings import ControlSettings, Locations, StoreSettings, WatcherSettings
from dcf.supervision.liveness import alive_socket, answering
from dcf.telemetry import logging_setup

logger = logging.getLogger("dcf.controlplane")

UNHURRIED = 60.0
"""Seconds beyond the start timeout that a call without a deadline waits for a replica."""

THREADS = 32
"""Threads for blocking work: disk and catalog. The number of long tasks is limited elsewhere, so
that a thread is always free for short ones."""


def main() -> int:
    """Run the control plane until SIGTERM, or until the supervisor is gone.

    Returns:
        0 after a requested stop, 1 after an error.
    """
    try:
        settings = ControlSettings.from_mapping(os.environ)
        places = Locations.from_mapping(os.environ)
        logging_setup.configure(settings.log_level)
        faulthandler.enable()
        asyncio.run(_run(settings, places, os.environ))
    except DcfError as error:
        logger.critical("the control plane cannot run: %s", error)
        return 1
    except asyncio.CancelledError:
        return 1  # the part that failed has logged the reason
    return 0


class Running(Protocol):
    """A part that runs in the background."""

    async def run(self) -> None:
        """Run until cancelled."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts that are started and stopped."""

    plane: GatewayService
    loop: ControlLoop
    background: list[Running]
    discovery: XdsServer
    checks: ExtAuthzServer


def _join(
    settings: ControlSettings,
    places: Locations,
    sockets: Sockets,
    env: Mapping[str, str],
    catalog: Catalog,
) -> _Parts:
    store = Store.at(places)
    bound, slots = StoreSettings.from_mapping(env), Slots(settings.builds)
    builder = Builder(store, Uv(env), settings=bound, slots=slots)
    retained = RetainedArtifacts(store)
    engine = registry.gateway_engine(
        store,
        builder,
        places,
        env,
        supervisor=sockets.supervisor,
        extra={GATEWAY: str(Endpoint(path=str(sockets.calls)))},
    )
    discovery = XdsServer(sockets.cold)
    routing = RoutePublisher(discovery)
    watchers = WatcherSettings(
        start_timeout=settings.start_timeout,
        request_ids=False,
        log_failure=True,
        replay=REPLAYED,
    )
    loop = ControlLoop(catalog, engine, routing, watchers)
    poller = TrafficPoller(catalog, sockets.admin)
    plane = GatewayService(
        catalog=catalog,
        engine=engine,
        loop=loop,
        routing=routing,
        deploys=DeployService(
            catalog=catalog,
            loop=loop,
            routing=routing,
            retained=retained,
            engine=engine,
            settings=settings,
        ),
        uploads=Uploads(store, most_bytes=settings.upload_limit, most_files=settings.upload_files),
        retained=retained,
        poller=poller,
        settings=settings,
    )
    autoscaler = Autoscaler(
        catalog,
        poller,
        held=lambda: activator.waiting(),  # noqa: PLW0108  each needs the other
        wake=loop.wake,
    )
    activator = Activator(
        catalog,
        loop,
        routing,
        most=settings.held,
        most_in_all=settings.held_in_all,
        patience=settings.start_timeout + UNHURRIED,
        activate=autoscaler.activate,
    )
    background: list[Running] = [
        loop,
        poller,
        autoscaler,
        activator,
        Rebalancer(loop.registry, poller),
        loop.health(interval=settings.health_interval, silence=settings.health_silence),
    ]
    return _Parts(
        plane, loop, background, discovery, ExtAuthzServer(ExtAuthz(activator, places.calls).judge)
    )


async def _run(settings: ControlSettings, places: Locations, env: Mapping[str, str]) -> None:
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="control")
    asyncio.get_running_loop().set_default_executor(executor)
    sockets = Sockets.under(places.gateway_runtime)
    keep_private(places)
    with writing(places.gateway):
        for folder in (places.gateway, places.gateway_runtime):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Catalog(places.gateway / "catalog.sqlite") as catalog:
        parts = _join(settings, places, sockets, env, catalog)
        tokens = token_files.prepare(settings, places, catalog.keys)
        key_set = None
        if not settings.open:
            revocations = Revocations(tokens, parts.loop.registry)
            parts.background.append(revocations)
            key_set = KeySet(tokens, changed=revocations.wake)
        servers: list[HttpServer | GrpcServer] = [
            HttpServer(make_app(parts.plane, tokens, settings, key_set), sockets.control),
            GrpcServer(parts.plane, Authorizer(tokens, is_open=settings.open), sockets.grpc),
        ]
        if key_set is not None:
            servers.append(HttpServer(key_set.app, sockets.keys))
        async with _in_background(parts.background):
            await parts.loop.began()
            try:
                # Start discovery last: a running Envoy removes what its first reply does not name.
                await parts.discovery.start(sockets.discovery)
                await parts.checks.start(sockets.hold)
                for server in servers:
                    await server.start()
                logger.info("the control plane is ready, with %d functions", len(catalog.names()))
                # The liveness check runs a turn of the control loop, so it also covers the disk.
                async with answering(alive_socket(sockets.control), parts.loop.works):
                    await _stop_requested()
            finally:
                for server in servers:
                    await server.stop()
                await parts.checks.stop()
                await parts.discovery.stop()


@contextlib.asynccontextmanager
async def _in_background(parts: Sequence[Running]) -> AsyncIterator[None]:
    """Run parts in the background. An error in a part ends the process, which is restarted."""
    main = asyncio.current_task()

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and main is not None:
            main.cancel()

    tasks = [asyncio.create_task(part.run()) for part in parts]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                logger.critical("a part of the control plane failed", exc_info=result)


async def _stop_requested() -> None:
    """Wait for SIGTERM, for SIGINT, or until the supervisor is gone."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)

    with watch_parent(asked.set):
        await asked.wait()


if __name__ == "__main__":
    sys.exit(main())
