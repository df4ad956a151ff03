"""Which routes Envoy was told of, and which of them it is known to follow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from dcf.dataplane.discovery import Discovery
from dcf.errors import RoutesLate, RoutesRejected
from dcf.model.routing import CallLimits, Destination

logger = logging.getLogger("dcf.gateway")

PATIENCE = 5.0
"""Seconds between two words in the log while Envoy does not take a change."""

REJECTED_RETRY = 1.0
"""Seconds before Envoy's answer is looked at again after it refused something."""

Endpoints = tuple[str, ...]


class Routing:
    """From publishing to knowing that calls go there."""

    def __init__(self, discovery: Discovery, limits: CallLimits | None = None) -> None:
        """Knows nothing of Envoy yet.

        Args:
            discovery: Tells Envoy.
            limits: What every function's calls are allowed.
        """
        self._discovery = discovery
        self._limits = limits or CallLimits()
        self._confirmed: dict[str, Endpoints | None] = {}
        self._told: dict[str, tuple[int, Endpoints | None]] = {}
        self._unconfirmed = asyncio.Event()

    def confirmed(self) -> dict[str, Endpoints | None]:
        """The endpoints by function to which Envoy is known to send calls.

        None stands for a function that it is known to have forgotten.
        """
        return dict(self._confirmed)

    def publish(self, function: str, destinations: Sequence[Destination]) -> None:
        """Sends a function's calls to these alone.

        Without any, Envoy is not told of the function: its calls come to the control plane, which
        knows why it has no replica.
        """
        endpoints = tuple(sorted(one.endpoint for one in destinations))
        told = self._told.get(function)
        if told is None or told[1] != endpoints:
            if destinations:
                version = self._discovery.set_function(function, destinations, self._limits)
            else:
                version = self._discovery.remove_function(function)
            self._tell(function, version, endpoints)

    def withdraw(self, function: str) -> None:
        """Lets Envoy forget a function."""
        told = self._told.get(function)
        if told is None or told[1] is not None:
            self._tell(function, self._discovery.remove_function(function), None)

    def forget_all_but(self, functions: Collection[str]) -> None:
        """Keeps no memory of functions that Envoy has forgotten and that nobody asks for."""
        for name, endpoints in tuple(self._confirmed.items()):
            if endpoints is None and name not in functions:
                del self._confirmed[name]

    def _tell(self, function: str, version: int, endpoints: Endpoints | None) -> None:
        self._told[function] = (version, endpoints)
        self._confirmed.pop(function, None)
        self._unconfirmed.set()

    async def confirm(self, on_change: Callable[[], None]) -> None:
        """Follows what Envoy takes, for ever.

        Args:
            on_change: Called whenever it has taken something.
        """
        while True:
            await self._unconfirmed.wait()
            self._unconfirmed.clear()
            latest = max((version for version, _ in self._told.values()), default=0)
            try:
                await self._discovery.wait_applied(latest, PATIENCE)
            except RoutesLate as error:
                logger.info("%s", error)
                self._unconfirmed.set()
                continue
            except RoutesRejected as error:
                logger.warning("%s", error)
                self._unconfirmed.set()
                await asyncio.sleep(REJECTED_RETRY)
                continue
            for function, (version, endpoints) in tuple(self._told.items()):
                if version > latest:
                    continue
                self._confirmed[function] = endpoints
                if endpoints is None:
                    del self._told[function]
            on_change()
