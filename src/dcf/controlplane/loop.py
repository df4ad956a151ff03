"""The control loop: sees, decides, acts, sees again.

What is to be done follows from :func:`dcf.reconciler.reconcile.reconcile`; here is who tells it
what there is and who carries its actions out. Nothing here must last: a control plane that is
killed finds everything again in the catalog, the engine and Envoy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

from dcf.catalog.catalog import Catalog
from dcf.catalog.isolation import Isolation
from dcf.controlplane.recording import Recorder
from dcf.controlplane.replicas.health import Health
from dcf.controlplane.replicas.replica_manager import ReplicaManager
from dcf.controlplane.replicas.replica_registry import ReplicaRegistry
from dcf.controlplane.route_publisher import RoutePublisher
from dcf.engines.base import Engine
from dcf.errors import DcfError, FunctionNotFound, SupervisorError
from dcf.model.desired import Wanted
from dcf.model.observed import ReplicaKey
from dcf.model.replica import ReplicaState
from dcf.model.revision import Revision
from dcf.reconciler.backoff import RULES, BackoffRules
from dcf.reconciler.reconcile import reconcile
from dcf.reconciler.types import (
    Action,
    ForgetReplica,
    PublishRoute,
    RecordEvent,
    StartReplica,
    StopReplica,
    View,
    WithdrawRoute,
)
from dcf.settings import WatcherSettings

logger = logging.getLogger("dcf.controlplane")

ENGINE_RETRY = 0.1
"""Seconds before the engine is asked again after its stream of observations broke off."""

CATALOG_RETRY = 1.0
"""Seconds before another turn after one that failed: a full disk needs longer than a moment."""


class ControlLoop:
    """Keeps the replicas and the routes as the catalog wants them."""

    def __init__(
        self,
        catalog: Catalog,
        engine: Engine,
        routing: RoutePublisher,
        watchers: WatcherSettings | None = None,
        *,
        rules: BackoffRules = RULES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A loop that has not seen anything yet.

        Args:
            catalog: What is wanted.
            engine: Where replicas run.
            routing: Where calls go.
            watchers: How watchers behave by default; None is their own defaults.
            rules: The numbers of a turn.
            clock: Seconds since the epoch.
        """
        self.fleet = ReplicaRegistry(clock)
        self._catalog = catalog
        self._engine = engine
        self._routing = routing
        self._rules = rules
        self._clock = clock
        self._recorded: set[str] = set()
        self._revisions: dict[tuple[str, int], Revision] = {}
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._began = asyncio.Event()
        self._deciding = Isolation("deciding about the replicas")
        self._acting = Isolation("changing the replicas or routes")
        self._reading = Isolation("reading the revision")
        self._recorder = Recorder(catalog.journal)
        self._replicas = ReplicaManager(
            self.fleet,
            engine,
            watchers or WatcherSettings(),
            clock=clock,
            wake=self._wake.set,
        )

    # For those who ask

    def wake(self) -> None:
        """Something that a turn looks at has changed."""
        self._wake.set()

    async def news(self) -> None:
        """Waits until another turn was taken."""
        await self._news.wait()

    async def works(self) -> None:
        """Wait for a turn of the loop, to show that this process still works."""
        self.wake()
        if self.fleet.is_known:
            await self.news()

    def reset_backoff(self, function: str) -> None:
        """Forgets how a function's replicas ended, so that the next start waits for nothing."""
        for one in self.fleet.of(function):
            if one.state is ReplicaState.EXITED:
                self._replicas.forget(one)
        self.wake()

    # Its life

    def health(self, *, interval: float, silence: float) -> Health:
        """Who asks the replicas whether they answer.

        Args:
            interval: Seconds between two questions.
            silence: Seconds without an answer until a stopped process is ended.
        """
        return Health(
            self.fleet,
            self._replicas,
            interval=interval,
            silence=silence,
            longest_call=self._longest_call,
            wake=self.wake,
        )

    async def run(self) -> None:
        """Goes on until it is cancelled; replicas and routes stay as they are then."""
        try:
            async with asyncio.TaskGroup() as together:
                together.create_task(self._observe())
                together.create_task(self._take_turns())
                together.create_task(self._routing.confirm(self.wake))
        finally:
            await self._replicas.close()
            await self._recorder.close()

    async def began(self) -> None:
        """Waits until all that lives is known and every function has its routes."""
        await self._began.wait()

    async def _observe(self) -> None:
        while True:
            try:
                async with contextlib.aclosing(self._engine.observe()) as seen:
                    async for item in seen:
                        if isinstance(item, tuple):
                            self.fleet.begin(item)
                            with contextlib.suppress(OSError):  # a later cleanup removes them
                                await self._engine.cleanup()
                        else:
                            self.fleet.take(item)
                        self.wake()
            except SupervisorError as error:
                logger.warning("replicas cannot be observed: %s", error)
            except Exception:
                # The engine reports all replicas again, without what cannot be understood.
                logger.exception("replicas cannot be observed; starting a new observation")
                await asyncio.sleep(CATALOG_RETRY)
            await asyncio.sleep(ENGINE_RETRY)

    async def _take_turns(self) -> None:
        due: float | None = None
        while True:
            wait = None if due is None else max(0.0, due - self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            self._wake.clear()
            if not self.fleet.is_known:
                due = None
                continue
            try:
                due = await self._turn()
                self._began.set()
            except DcfError as error:
                logger.warning("a turn failed: %s", error)
                due = self._clock() + CATALOG_RETRY
            except Exception:
                logger.exception("a turn failed, by a defect of the gateway; the next turn follows")
                due = self._clock() + CATALOG_RETRY
            self._news.set()
            self._news = asyncio.Event()

    async def _turn(self) -> float | None:
        """Takes one turn; returns when the next one is due."""
        wanted, unknown = await asyncio.to_thread(self._look_up)
        replicas = tuple(one.observed() for one in self.fleet.all())
        view = View(replicas, self._routing.confirmed(), frozenset(self._recorded))
        now = self._clock()
        found = reconcile(wanted, view, now, self._rules, unknown)
        for name, error in found.errors.items():
            self._deciding.failed(name, error)
        # Calls wait for no disk: it may be slow, or full. So routes come first, then the records.
        for action in found.actions:
            if isinstance(action, PublishRoute | WithdrawRoute):
                self._carry_out(action)
        events = [action.event for action in found.actions if isinstance(action, RecordEvent)]
        await self._recorder.record(events)
        self._recorded |= {event.key for event in events}
        for action in found.actions:
            if not isinstance(action, PublishRoute | WithdrawRoute):
                self._carry_out(action)
        known = {one.function for one in wanted} | set(unknown) | self.fleet.functions()
        self._routing.forget_all_but(known)
        for isolation in (self._deciding, self._acting, self._reading):
            isolation.keep_only(known)
        waits = [found.due, self._replicas.end_overdue(now)]
        if found.errors or self._recorder.is_behind:
            waits.append(now + CATALOG_RETRY)
        return min((wait for wait in waits if wait is not None), default=None)

    def _look_up(self) -> tuple[list[Wanted], frozenset[str]]:
        """Read the desired state of all functions from the catalog and their specs.

        Returns:
            The readable functions, and the names of those that cannot be read.
        """
        rows = self._catalog.wanted()
        unknown = self._catalog.names() - {one.function for one in rows}
        needed = {(one.function, one.revision) for one in rows}
        needed |= {(one.function, one.canary.revision) for one in rows if one.canary}
        for key in self._revisions.keys() - needed:
            del self._revisions[key]
        for name, number in needed - self._revisions.keys():
            with (
                self._reading.of(name),
                contextlib.suppress(FunctionNotFound),  # deleted meanwhile: the next turn sees it
            ):
                self._revisions[name, number] = self._catalog.revision(name, number)
        readable = [
            # What exists once cannot be had twice for a moment.
            replace(one, surge=0) if self._needs_gpu(one) else one
            for one in rows
        ]
        return readable, unknown

    def _needs_gpu(self, wanted: Wanted) -> bool:
        revision = self._revisions.get((wanted.function, wanted.revision))
        if revision is None:
            return False
        return bool(revision.spec.limits.gpu or revision.spec.requests.gpu)

    def _longest_call(self, key: ReplicaKey) -> float:
        """Seconds after which a watcher ends itself because of a call; infinite where unknown."""
        revision = self._revisions.get((key.function, key.revision))
        if revision is None:
            return math.inf
        settings = WatcherSettings()
        timeout = revision.spec.timeout
        return (settings.timeout if timeout is None else timeout) + settings.grace

    # What a turn asks for

    def _carry_out(self, action: Action) -> None:
        function = (
            action.function
            if isinstance(action, PublishRoute | WithdrawRoute)
            else _function(action)
        )
        with self._acting.of(function):
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case StartReplica(key):
                if (revision := self._revisions.get((key.function, key.revision))) is not None:
                    self._replicas.start(key, revision)
            case StopReplica(key, grace):
                if (one := self.fleet.find(key)) is not None:
                    self._replicas.stop(one, grace)
            case ForgetReplica(key):
                if (one := self.fleet.find(key)) is not None:
                    self._replicas.forget(one)
            case PublishRoute(function, route):
                revisions = {one.endpoint: one.key.revision for one in self.fleet.of(function)}
                self._routing.publish(function, route, revisions)
            case WithdrawRoute(function):
                self._routing.withdraw(function)
                self.fleet.forget_function(function)
            case RecordEvent():
                pass  # done before these, because a Forget may follow it


def _function(action: StartReplica | StopReplica | ForgetReplica | RecordEvent) -> str:
    return action.event.function if isinstance(action, RecordEvent) else action.key.function
