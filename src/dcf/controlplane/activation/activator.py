"""Decide how long Envoy holds calls to functions without a ready replica.

Envoy holds the calls. This module knows which calls wait for which function, and decides when a
wait ends. It stores nothing: after a restart of the control plane, Envoy asks again about each held
call.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from dcf.catalog.catalog import Catalog
from dcf.catalog.isolation import Isolation
from dcf.controlplane import function_status
from dcf.controlplane.loop import ControlLoop
from dcf.controlplane.route_publisher import RoutePublisher
from dcf.errors import (
    CatalogUnusable,
    DcfError,
    DeadlineExceeded,
    FunctionNotFound,
    NotReady,
    Overloaded,
)
from dcf.model.observed import Observed
from dcf.model.replica import ReplicaState
from dcf.model.revision import FunctionRecord
from dcf.reconciler.backoff import RULES, BackoffRules, crash, crashes_of_slot, due

logger = logging.getLogger("dcf.controlplane")

LONG = 5.0
"""Seconds. If a replica that was ready has crashed, calls wait for a restart delay up to this one.
After a longer delay the function has crashed repeatedly, and the next call would most likely crash
the next replica as well."""

CATALOG_RETRY = 1.0
"""Seconds before the catalog is read again after an error."""


class ActivationRefused(Exception):
    """A call must not be held, or no longer.

    Attributes:
        error: The error for the caller.
        retry_after: Seconds after which the caller may retry.
    """

    def __init__(self, error: DcfError, retry_after: float = 1.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass(slots=True, eq=False)
class _HeldCall:
    """A call that waits for a replica.

    Attributes:
        since: When it arrived, in seconds since the epoch.
        settled: The refusal, or None to send the call to a replica.
    """

    since: float
    settled: asyncio.Future[ActivationRefused | None]

    def settle(self, refused: ActivationRefused | None) -> None:
        """End the wait. Only the first result counts."""
        if not self.settled.done():
            self.settled.set_result(refused)


class Activator:
    """Holds calls by function. Not thread-safe: it belongs to the control plane's event loop."""

    def __init__(
        self,
        catalog: Catalog,
        loop: ControlLoop,
        routing: RoutePublisher,
        *,
        most: int,
        most_in_all: int,
        patience: float,
        activate: Callable[[str], Awaitable[None]],
        rules: BackoffRules = RULES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create an activator without held calls.

        Args:
            catalog: What is deployed.
            loop: The control loop.
            routing: The routes that Envoy has confirmed.
            most: Maximum number of held calls of one function.
            most_in_all: Maximum number of held calls.
            patience: Seconds that a call without a deadline waits.
            activate: Starts a first replica of a function that was scaled to zero automatically.
                Its argument is the function's name.
            rules: Delays after crashes.
            clock: Seconds since the epoch.
        """
        self._catalog = catalog
        self._loop = loop
        self._routing = routing
        self._most = most
        self._most_in_all = most_in_all
        self._patience = patience
        self._activate = activate
        self._rules = rules
        self._clock = clock
        self._calls: dict[str, set[_HeldCall]] = {}
        self._total = 0
        self._more = asyncio.Event()
        self._isolation = Isolation("releasing the held calls")

    def waiting(self) -> Mapping[str, int]:
        """Return the number of held calls, by function. Functions without held calls are absent."""
        return {name: len(calls) for name, calls in self._calls.items()}

    async def hold(self, name: str, since: float, deadline: float | None = None) -> None:
        """Wait until Envoy sends the calls of a function to a ready replica.

        Args:
            name: The function.
            since: When the call arrived, in seconds since the epoch.
            deadline: Seconds from ``since`` that the caller waits; None if the caller sets none.

        Raises:
            ActivationRefused: If the function does not exist or was scaled to 0 by hand, if a
                start fails meanwhile or a restart delay is running, if too many calls wait, or if
                the time is up.
        """
        if self._routing.confirmed().get(name):
            return
        self._admit(name)
        call = _HeldCall(since, asyncio.get_running_loop().create_future())
        self._calls.setdefault(name, set()).add(call)
        self._total += 1
        self._more.set()
        limit = self._patience if deadline is None else deadline
        try:
            async with asyncio.timeout(since + limit - self._clock()):
                refused = await call.settled
        except TimeoutError:
            raise ActivationRefused(_late(name, deadline, self._patience)) from None
        finally:
            self._total -= 1
            self._calls[name].discard(call)
            if not self._calls[name]:
                del self._calls[name]
        if refused is not None:
            raise refused

    async def run(self) -> None:
        """Release or refuse held calls until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            news = asyncio.ensure_future(self._loop.news())
            more = asyncio.ensure_future(self._more.wait())
            try:
                while self._calls:
                    with self._isolation.of("all functions"):
                        await self._settle_all()
                    await asyncio.wait({news, more}, return_when=asyncio.FIRST_COMPLETED)
                    if news.done():
                        news = asyncio.ensure_future(self._loop.news())
                    if more.done():
                        self._more.clear()
                        more = asyncio.ensure_future(self._more.wait())
            finally:
                news.cancel()
                more.cancel()
                await asyncio.wait({news, more})

    def _admit(self, name: str) -> None:
        if self._total >= self._most_in_all:
            raise ActivationRefused(
                Overloaded(f"{self._total} calls are already waiting for replicas")
            )
        if len(self._calls.get(name, ())) >= self._most:
            raise ActivationRefused(
                Overloaded(f"{self._most} calls are already waiting for {name}")
            )

    async def _settle_all(self) -> None:
        """Settle the calls whose result is known by now."""
        confirmed = self._routing.confirmed()
        for name in [name for name in self._calls if confirmed.get(name)]:
            self._settle(name, None)
        names = [name for name, calls in self._calls.items() if _unsettled(calls)]
        if not names:
            return
        try:
            records = await asyncio.to_thread(self._records, names)
        except DcfError as error:
            logger.warning("held calls wait longer: the catalog cannot be read: %s", error)
            await asyncio.sleep(CATALOG_RETRY)
            self._more.set()
            return
        replicas = self._loop.registry.by_function()
        now = self._clock()
        idle = []
        for name, record in records.items():
            with self._isolation.of(name):
                if isinstance(record, DcfError):
                    self._settle(name, ActivationRefused(record))
                elif not record.scaling.replicas and record.scaling.by_hand:
                    self._settle(
                        name, ActivationRefused(NotReady(f"{name} is scaled to 0 replicas"))
                    )
                elif not record.scaling.replicas:
                    idle.append(name)
                else:
                    own = [replica.observed() for replica in replicas.get(name, ())]
                    self._settle_failed(record, own, now)
        await asyncio.gather(*map(self._start_first, idle))

    def _records(self, names: Iterable[str]) -> dict[str, FunctionRecord | DcfError]:
        records: dict[str, FunctionRecord | DcfError] = {}
        for name in names:
            try:
                records[name] = self._catalog.function(name)
            except (FunctionNotFound, CatalogUnusable) as error:
                records[name] = error
        return records

    async def _start_first(self, name: str) -> None:
        with self._isolation.of(name):
            try:
                await self._activate(name)
            except DcfError as error:
                self._settle(name, ActivationRefused(error))

    def _settle(self, name: str, refused: ActivationRefused | None) -> None:
        for call in self._calls.get(name, ()):
            call.settle(refused)

    def _settle_failed(self, record: FunctionRecord, own: list[Observed], now: float) -> None:
        """Refuse the calls that wait for a replica that cannot be started."""
        failure = _failure(record, own, now, self._rules)
        if failure is None:
            return
        for call in self._calls.get(record.name, ()):
            if failure.is_delayed or call.since <= failure.at:
                call.settle(ActivationRefused(failure.error, failure.delay))


@dataclass(frozen=True, slots=True)
class _Failure:
    """The last failed start of a function.

    Attributes:
        error: The error for callers.
        at: When it failed, in seconds since the epoch.
        delay: Seconds until the next start.
        is_delayed: Whether the restart delay is running and no replica is starting.
    """

    error: DcfError
    at: float
    delay: float
    is_delayed: bool


def _failure(
    record: FunctionRecord, own: list[Observed], now: float, rules: BackoffRules
) -> _Failure | None:
    """Return the last failure if calls should not wait for another start, or None."""
    number = record.current.number
    current = [replica for replica in own if replica.key.revision == number]
    crashed = [(exit_, replica) for replica in current if (exit_ := crash(replica))]
    if not crashed:
        return None
    last, lost = max(crashed, key=lambda pair: pair[0].at)
    slots = {replica.key.slot for _, replica in crashed}
    delay = min(due(crashes_of_slot(current, number, slot), now, rules) for slot in slots) - now
    if lost.ready_at is not None and delay <= LONG:
        return None
    is_starting = any(replica.state is ReplicaState.STARTING for replica in current)
    return _Failure(
        function_status.start_error(last), last.at, delay, delay > 0 and not is_starting
    )


def _unsettled(calls: Iterable[_HeldCall]) -> bool:
    return any(not call.settled.done() for call in calls)


def _late(name: str, deadline: float | None, patience: float) -> DcfError:
    if deadline is None:
        return NotReady(f"{name} had no ready replica within {patience:g} s")
    return DeadlineExceeded(f"{name} had no ready replica within {deadline:g} s")
