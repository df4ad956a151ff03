"""Calls that meet no replica, held until there is one.

Envoy keeps the calls; here is only who waits for which function, and when the wait is over. Nothing
must last: when the control plane is killed, Envoy asks again about each call that it still keeps.
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
"""Seconds. A delay up to this one is waited out before a replica is replaced that had been ready;
behind a longer one the next call would most likely end the next replica as well."""

CATALOG_RETRY = 1.0
"""Seconds before the catalog is looked at again that could not be read."""


class ActivationRefused(Exception):
    """A call is not to be held, or not any longer.

    Attributes:
        error: What its caller is told.
        retry_after: Seconds after which a new try makes sense.
    """

    def __init__(self, error: DcfError, retry_after: float = 1.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass(slots=True, eq=False)
class _Call:
    """One that waits.

    Attributes:
        since: When it came, in seconds since the epoch.
        settled: Why it does not go on, or None when it does.
    """

    since: float
    settled: asyncio.Future[ActivationRefused | None]

    def settle(self, refused: ActivationRefused | None) -> None:
        """The first word counts."""
        if not self.settled.done():
            self.settled.set_result(refused)


class Activator:
    """Who waits for which function. On the control plane's event loop."""

    def __init__(
        self,
        catalog: Catalog,
        loop: ControlLoop,
        routing: RoutePublisher,
        *,
        most: int,
        most_in_all: int,
        patience: float,
        wanted: Callable[[str], Awaitable[None]],
        rules: BackoffRules = RULES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Nobody waits yet.

        Args:
            catalog: What is deployed.
            loop: Brings replicas about, and knows of them.
            routing: Knows where Envoy sends calls.
            most: Calls that may wait for one function.
            most_in_all: Calls that may wait at a time.
            patience: Seconds that a call waits which has no deadline of its own.
            wanted: Called with the name of a function that calls wait for and that is to have no
                replica, though nobody asked for that by hand.
            rules: The numbers of a turn.
            clock: Seconds since the epoch.
        """
        self._catalog = catalog
        self._loop = loop
        self._routing = routing
        self._most = most
        self._most_in_all = most_in_all
        self._patience = patience
        self._wanted = wanted
        self._rules = rules
        self._clock = clock
        self._calls: dict[str, set[_Call]] = {}
        self._total = 0
        self._more = asyncio.Event()
        self._isolation = Isolation("letting the held calls go")

    def waiting(self) -> Mapping[str, int]:
        """The number of calls that wait now, by function; without those that nobody waits for."""
        return {name: len(calls) for name, calls in self._calls.items()}

    async def hold(self, name: str, since: float, deadline: float | None = None) -> None:
        """Returns once Envoy sends the function's calls to a ready replica.

        Args:
            name: The function.
            since: When the call came, in seconds since the epoch.
            deadline: Seconds from then on that its caller waits; None when it does not say.

        Raises:
            Refused: When there is no such function, or it is scaled to 0 by hand; when a start
                failed meanwhile, or a delay runs after one that failed before; when too many calls
                wait; when the time is up.
        """
        if self._routing.confirmed().get(name):
            return
        self._admit(name)
        call = _Call(since, asyncio.get_running_loop().create_future())
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
        """Lets calls go, or ends their wait, until it is cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            news = asyncio.ensure_future(self._loop.news())
            more = asyncio.ensure_future(self._more.wait())
            try:
                while self._calls:
                    with self._isolation.of("all functions"):
                        await self._look()
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
            raise ActivationRefused(Overloaded(f"{self._total} calls wait for replicas already"))
        if len(self._calls.get(name, ())) >= self._most:
            raise ActivationRefused(Overloaded(f"{self._most} calls wait for {name} already"))

    async def _look(self) -> None:
        """Settles what can be settled by now."""
        confirmed = self._routing.confirmed()
        for name in [name for name in self._calls if confirmed.get(name)]:
            self._settle(name, None)
        names = [name for name, calls in self._calls.items() if _unsettled(calls)]
        if not names:
            return
        try:
            records = await asyncio.to_thread(self._records, names)
        except DcfError as error:
            logger.warning("calls wait longer, the catalog cannot be read: %s", error)
            await asyncio.sleep(CATALOG_RETRY)
            self._more.set()
            return
        fleet = self._loop.fleet.by_function()
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
                    own = [one.observed() for one in fleet.get(name, ())]
                    self._settle_failed(record, own, now)
        await asyncio.gather(*map(self._ask_for, idle))

    def _records(self, names: Iterable[str]) -> dict[str, FunctionRecord | DcfError]:
        found: dict[str, FunctionRecord | DcfError] = {}
        for name in names:
            try:
                found[name] = self._catalog.function(name)
            except (FunctionNotFound, CatalogUnusable) as error:
                found[name] = error
        return found

    async def _ask_for(self, name: str) -> None:
        with self._isolation.of(name):
            try:
                await self._wanted(name)
            except DcfError as error:
                self._settle(name, ActivationRefused(error))

    def _settle(self, name: str, refused: ActivationRefused | None) -> None:
        for call in self._calls.get(name, ()):
            call.settle(refused)

    def _settle_failed(self, record: FunctionRecord, own: list[Observed], now: float) -> None:
        """Ends waits for a replica that cannot be started."""
        failure = _failure(record, own, now, self._rules)
        if failure is None:
            return
        for call in self._calls.get(record.name, ()):
            if failure.stands or call.since <= failure.at:
                call.settle(ActivationRefused(failure.error, failure.delay))


@dataclass(frozen=True, slots=True)
class _Failure:
    """How the last start of a function went wrong.

    Attributes:
        error: What it came to.
        at: When, in seconds since the epoch.
        delay: Seconds until the next one.
        stands: Whether a delay runs, and nothing is being started.
    """

    error: DcfError
    at: float
    delay: float
    stands: bool


def _failure(
    record: FunctionRecord, own: list[Observed], now: float, rules: BackoffRules
) -> _Failure | None:
    """Why waiting is in vain; None when it is not."""
    number = record.current.number
    mine = [one for one in own if one.key.revision == number]
    crashed = [(exit_, one) for one in mine if (exit_ := crash(one))]
    if not crashed:
        return None
    last, lost = max(crashed, key=lambda pair: pair[0].at)
    slots = {one.key.slot for _, one in crashed}
    delay = min(due(crashes_of_slot(mine, number, slot), now, rules) for slot in slots) - now
    if lost.ready_at is not None and delay <= LONG:
        return None
    under_way = any(one.state is ReplicaState.STARTING for one in mine)
    return _Failure(function_status.start_error(last), last.at, delay, delay > 0 and not under_way)


def _unsettled(calls: Iterable[_Call]) -> bool:
    return any(not call.settled.done() for call in calls)


def _late(name: str, deadline: float | None, patience: float) -> DcfError:
    if deadline is None:
        return NotReady(f"{name} had no ready replica within {patience:g} s")
    return DeadlineExceeded(f"{name} had no ready replica within {deadline:g} s")
