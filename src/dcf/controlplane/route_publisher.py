"""Publish routes to Envoy, and know which of them Envoy has confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping

from dcf.catalog.isolation import Isolation
from dcf.dataplane.xds_server import XdsServer
from dcf.errors import RoutesLate, RoutesRejected
from dcf.model.routing import CallLimits, Destination
from dcf.reconciler.types import Route

logger = logging.getLogger("dcf.controlplane")

PATIENCE = 5.0
"""Seconds between two log lines while Envoy does not confirm a change."""

REJECTED_RETRY = 1.0
"""Seconds until the gateway checks again whether Envoy applies a change that it rejected."""


class RoutePublisher:
    """Publishes routes, and tracks their confirmation."""

    def __init__(self, discovery: XdsServer, limits: CallLimits | None = None) -> None:
        """Create a publisher without routes.

        Args:
            discovery: Sends routes to Envoy.
            limits: Limits for the calls of each function.
        """
        self._discovery = discovery
        self._limits = limits or CallLimits()
        self._confirmed: dict[str, Route | None] = {}
        self._published: dict[str, tuple[int, Route | None]] = {}
        self._unconfirmed = asyncio.Event()
        self._refusing = Isolation("updating Envoy")
        self._refused = discovery.passed_over

    def confirmed(self) -> dict[str, Route | None]:
        """Return the routes that Envoy has confirmed, by function.

        None means that Envoy has confirmed the removal of the function.
        """
        return dict(self._confirmed)

    def publish(self, function: str, route: Route, revisions: Mapping[str, int]) -> None:
        """Replace the route of a function.

        With an empty route, Envoy gets no cluster for the function: its calls are held, and the
        control plane decides about them.

        Args:
            function: The function's name.
            route: The new route.
            revisions: The revision at each endpoint.
        """
        published = self._published.get(function)
        if published is None or published[1] != route:
            if route:
                destinations = _destinations(route, revisions)
                version = self._discovery.set_function(function, destinations, self._limits)
            else:
                version = self._discovery.remove_function(function)
            self._sent(function, version, route)

    def withdraw(self, function: str) -> None:
        """Remove a function from Envoy."""
        published = self._published.get(function)
        if published is None or published[1] is not None:
            self._sent(function, self._discovery.remove_function(function), None)

    def forget_all_but(self, functions: Collection[str]) -> None:
        """Forget the confirmed removal of all other functions."""
        for name, route in tuple(self._confirmed.items()):
            if route is None and name not in functions:
                del self._confirmed[name]

    def _sent(self, function: str, version: int, route: Route | None) -> None:
        self._published[function] = (version, route)
        self._refused.discard(function)
        self._confirmed.pop(function, None)
        self._unconfirmed.set()

    async def confirm(self, on_change: Callable[[], None]) -> None:
        """Track Envoy's confirmations until cancelled.

        Args:
            on_change: Called after each new confirmation.
        """
        while True:
            await self._pending_change()
            self._unconfirmed.clear()
            latest = max((version for version, _ in self._published.values()), default=0)
            late: Collection[str] = self._refused
            try:
                await self._discovery.wait_applied(latest, PATIENCE)
            except RoutesLate as error:
                logger.info("%s", error)
                late = self._discovery.unapplied()
                self._unconfirmed.set()
            except RoutesRejected:
                # A change that Envoy rejects must not delay other functions.
                late = self._discovery.unapplied()
                for function, reason in self._discovery.unapplied().items():
                    if reason:
                        self._refused.add(function)
                        self._refusing.failed(function, RoutesRejected(reason))
                self._unconfirmed.set()
            if self._confirm(latest, late):
                on_change()

    async def _pending_change(self) -> None:
        """Wait until there is a new change, or Envoy applies one that it rejected before."""
        while not self._unconfirmed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REJECTED_RETRY if self._refused else None):
                    await self._unconfirmed.wait()
            unapplied = self._discovery.unapplied() if self._refused else {}
            if applied := {name for name in self._refused if not unapplied.get(name)}:
                self._refused -= applied
                self._unconfirmed.set()

    def _confirm(self, latest: int, late: Collection[str]) -> bool:
        """Record what Envoy has applied up to a version; return whether anything is new."""
        is_new = False
        for function, (version, route) in tuple(self._published.items()):
            if version > latest or function in late:
                continue
            is_new = is_new or self._confirmed.get(function, _UNKNOWN) != route
            self._confirmed[function] = route
            if route is None:
                del self._published[function]
        return is_new


_UNKNOWN = object()
"""Placeholder for an unknown route."""


def _destinations(route: Route, revisions: Mapping[str, int]) -> list[Destination]:
    rest = 100 - route.share if route.share else 0.0
    main = [Destination(endpoint, revisions.get(endpoint, 0), rest) for endpoint in route.endpoints]
    return main + [
        Destination(endpoint, revisions.get(endpoint, 0), route.share)
        for endpoint in route.canaries
    ]
