"""Which routes Envoy was told of, and which of them it is known to follow."""

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
"""Seconds between two words in the log while Envoy does not take a change."""

REJECTED_RETRY = 1.0
"""Seconds until the gateway checks again whether Envoy applies a change that it rejected."""


class RoutePublisher:
    """From publishing to knowing that calls go there."""

    def __init__(self, discovery: XdsServer, limits: CallLimits | None = None) -> None:
        """Knows nothing of Envoy yet.

        Args:
            discovery: Tells Envoy.
            limits: What every function's calls are allowed.
        """
        self._discovery = discovery
        self._limits = limits or CallLimits()
        self._confirmed: dict[str, Route | None] = {}
        self._told: dict[str, tuple[int, Route | None]] = {}
        self._unconfirmed = asyncio.Event()
        self._refusing = Isolation("telling Envoy")
        self._refused = discovery.passed_over

    def confirmed(self) -> dict[str, Route | None]:
        """Where Envoy is known to send a function's calls.

        None stands for a function that it is known to have forgotten.
        """
        return dict(self._confirmed)

    def publish(self, function: str, route: Route, revisions: Mapping[str, int]) -> None:
        """Sends a function's calls there alone.

        Where nobody takes them, Envoy is not told of the function: its calls come to the control
        plane, which knows why it has no replica.

        Args:
            function: Its name.
            route: Where.
            revisions: Which revision runs at an endpoint.
        """
        told = self._told.get(function)
        if told is None or told[1] != route:
            if route:
                destinations = _destinations(route, revisions)
                version = self._discovery.set_function(function, destinations, self._limits)
            else:
                version = self._discovery.remove_function(function)
            self._tell(function, version, route)

    def withdraw(self, function: str) -> None:
        """Lets Envoy forget a function."""
        told = self._told.get(function)
        if told is None or told[1] is not None:
            self._tell(function, self._discovery.remove_function(function), None)

    def forget_all_but(self, functions: Collection[str]) -> None:
        """Keeps no memory of functions that Envoy has forgotten and that nobody asks for."""
        for name, route in tuple(self._confirmed.items()):
            if route is None and name not in functions:
                del self._confirmed[name]

    def _tell(self, function: str, version: int, route: Route | None) -> None:
        self._told[function] = (version, route)
        self._refused.discard(function)
        self._confirmed.pop(function, None)
        self._unconfirmed.set()

    async def confirm(self, on_change: Callable[[], None]) -> None:
        """Follows what Envoy takes, for ever.

        Args:
            on_change: Called whenever it has taken something.
        """
        while True:
            await self._something_to_confirm()
            self._unconfirmed.clear()
            latest = max((version for version, _ in self._told.values()), default=0)
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

    async def _something_to_confirm(self) -> None:
        """Wait until there is a new change, or Envoy applies one that it rejected before."""
        while not self._unconfirmed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REJECTED_RETRY if self._refused else None):
                    await self._unconfirmed.wait()
            unapplied = self._discovery.unapplied() if self._refused else {}
            if taken := {one for one in self._refused if not unapplied.get(one)}:
                self._refused -= taken
                self._unconfirmed.set()

    def _confirm(self, latest: int, late: Collection[str]) -> bool:
        """Note what Envoy has applied up to a version; return whether anything was new."""
        found = False
        for function, (version, route) in tuple(self._told.items()):
            if version > latest or function in late:
                continue
            found = found or self._confirmed.get(function, _UNKNOWN) != route
            self._confirmed[function] = route
            if route is None:
                del self._told[function]
        return found


_UNKNOWN = object()
"""Placeholder for an unknown route."""


def _destinations(route: Route, revisions: Mapping[str, int]) -> list[Destination]:
    rest = 100 - route.share if route.share else 0.0
    main = [Destination(one, revisions.get(one, 0), rest) for one in route.endpoints]
    return main + [Destination(one, revisions.get(one, 0), route.share) for one in route.canaries]
