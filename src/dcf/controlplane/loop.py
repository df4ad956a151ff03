"""The control loop: observe, decide, act, repeat.

:func:`dcf.reconciler.reconcile.reconcile` decides what to do. This module collects its input and
executes its actions. It stores nothing: a control plane that was killed reads everything again from
the catalog, the engine and Envoy.
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
"""Seconds before a new observation of the engine after the previous one broke off."""

CATALOG_RETRY = 1.0
"""Seconds before the next turn after a failed one. 1: a full disk does not recover in a moment."""


class ControlLoop:
    """Brings replicas and routes to the state that the catalog describes.

    Attributes:
        registry: The replicas as they are observed.
    """

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
        """Create a loop that has observed nothing.

        Args:
            catalog: The desired state.
            engine: Where replicas run.
            routing: Publishes routes to Envoy.
            watchers: The default settings of watchers; None uses the defaults of the settings.
            rules: Delays after crashes, and further limits of a turn.
            clock: Seconds since the epoch.
        """
        self.registry = ReplicaRegistry(clock)
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
        self._recorder = Recorder(catalog.event_log)
        self._replicas = ReplicaManager(
            self.registry,
            engine,
            watchers or WatcherSettings(),
            clock=clock,
            wake=self._wake.set,
        )

    # Interface for other parts

    def wake(self) -> None:
        """Request a turn, because the input of a turn has changed."""
        self._wake.set()

    async def news(self) -> None:
        """Wait for the end of the next turn."""
        await self._news.wait()

    async def works(self) -> None:
        """Wait for a turn of the loop, to show that this process still works."""
        self.wake()
        if self.registry.is_known:
            await self.news()

    def reset_backoff(self, function: str) -> None:
        """Forget the crashes of a function, so that its next start is not delayed."""
        for record in self.registry.of(function):
            if record.state is ReplicaState.EXITED:
                self._replicas.forget(record)
        self.wake()

    # Life cycle

    def health(self, *, interval: float, silence: float) -> Health:
        """Return health checks for the replicas of this loop.

        Args:
            interval: Seconds between two checks of a replica.
            silence: Seconds without an answer after which a stopped process is ended.
        """
        return Health(
            self.registry,
            self._replicas,
            interval=interval,
            silence=silence,
            longest_call=self._longest_call,
            wake=self.wake,
        )

    async def run(self) -> None:
        """Run until cancelled. Replicas and routes then stay as they are."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._observe())
                tasks.create_task(self._run_turns())
                tasks.create_task(self._routing.confirm(self.wake))
        finally:
            await self._replicas.close()
            await self._recorder.close()

    async def began(self) -> None:
        """Wait until all running replicas are known and the first turn has published all routes."""
        await self._began.wait()

    async def _observe(self) -> None:
        while True:
            try:
                async with contextlib.aclosing(self._engine.observe()) as observations:
                    async for observation in observations:
                        if isinstance(observation, tuple):
                            self.registry.begin(observation)
                            with contextlib.suppress(OSError):  # a later cleanup removes them
                                await self._engine.cleanup()
                        else:
                            self.registry.update(observation)
                        self.wake()
            except SupervisorError as error:
                logger.warning("replicas cannot be observed: %s", error)
            except Exception:
                # The engine reports all replicas again, without what cannot be understood.
                logger.exception("replicas cannot be observed; starting a new observation")
                await asyncio.sleep(CATALOG_RETRY)
            await asyncio.sleep(ENGINE_RETRY)

    async def _run_turns(self) -> None:
        due: float | None = None
        while True:
            delay = None if due is None else max(0.0, due - self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            self._wake.clear()
            if not self.registry.is_known:
                due = None
                continue
            try:
                due = await self._turn()
                self._began.set()
            except DcfError as error:
                logger.warning("reconciliation failed, retrying: %s", error)
                due = self._clock() + CATALOG_RETRY
            except Exception:
                logger.exception("reconciliation failed (a bug in the gateway), retrying")
                due = self._clock() + CATALOG_RETRY
            self._news.set()
            self._news = asyncio.Event()

    async def _turn(self) -> float | None:
        """Reconcile once; return when the next turn is due, None if nothing is pending."""
        desired, unknown = await asyncio.to_thread(self._read_desired)
        replicas = tuple(record.observed() for record in self.registry.all())
        view = View(replicas, self._routing.confirmed(), frozenset(self._recorded))
        now = self._clock()
        turn = reconcile(desired, view, now, self._rules, unknown)
        for name, error in turn.errors.items():
            self._deciding.failed(name, error)
        # Apply route changes before writing events, so that a slow or full disk never delays calls.
        for action in turn.actions:
            if isinstance(action, PublishRoute | WithdrawRoute):
                self._execute(action)
        events = [action.event for action in turn.actions if isinstance(action, RecordEvent)]
        await self._recorder.record(events)
        self._recorded |= {event.key for event in events}
        for action in turn.actions:
            if not isinstance(action, PublishRoute | WithdrawRoute):
                self._execute(action)
        known = {wanted.function for wanted in desired} | set(unknown) | self.registry.functions()
        self._routing.forget_all_but(known)
        for isolation in (self._deciding, self._acting, self._reading):
            isolation.keep_only(known)
        times = [turn.due, self._replicas.stop_overdue(now)]
        if turn.errors or self._recorder.is_behind:
            times.append(now + CATALOG_RETRY)
        return min((time for time in times if time is not None), default=None)

    def _read_desired(self) -> tuple[list[Wanted], frozenset[str]]:
        """Read the desired state of all functions from the catalog and their specs.

        Returns:
            The readable functions, and the names of those that cannot be read.
        """
        rows = self._catalog.wanted()
        unknown = self._catalog.names() - {row.function for row in rows}
        needed = {(row.function, row.revision) for row in rows}
        needed |= {(row.function, row.canary.revision) for row in rows if row.canary}
        for key in self._revisions.keys() - needed:
            del self._revisions[key]
        for name, number in needed - self._revisions.keys():
            with (
                self._reading.of(name),
                contextlib.suppress(FunctionNotFound),  # deleted meanwhile: the next turn sees it
            ):
                self._revisions[name, number] = self._catalog.revision(name, number)
        readable = [
            # A GPU cannot be used by the old and the new replica at the same time.
            replace(row, surge=0) if self._needs_gpu(row) else row
            for row in rows
        ]
        return readable, unknown

    def _needs_gpu(self, wanted: Wanted) -> bool:
        revision = self._revisions.get((wanted.function, wanted.revision))
        if revision is None:
            return False
        return bool(revision.spec.limits.gpu or revision.spec.requests.gpu)

    def _longest_call(self, key: ReplicaKey) -> float:
        """Return the seconds after which a watcher ends itself because of a call.

        They are infinite if the revision is unknown.
        """
        revision = self._revisions.get((key.function, key.revision))
        if revision is None:
            return math.inf
        settings = WatcherSettings()
        timeout = revision.spec.timeout
        return (settings.timeout if timeout is None else timeout) + settings.grace

    # Actions

    def _execute(self, action: Action) -> None:
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
                if (record := self.registry.find(key)) is not None:
                    self._replicas.stop(record, grace)
            case ForgetReplica(key):
                if (record := self.registry.find(key)) is not None:
                    self._replicas.forget(record)
            case PublishRoute(function, route):
                records = self.registry.of(function)
                revisions = {record.endpoint: record.key.revision for record in records}
                self._routing.publish(function, route, revisions)
            case WithdrawRoute(function):
                self._routing.withdraw(function)
                self.registry.forget_function(function)
            case RecordEvent():
                pass  # recorded before: the replica may be forgotten in the same turn


def _function(action: StartReplica | StopReplica | ForgetReplica | RecordEvent) -> str:
    return action.event.function if isinstance(action, RecordEvent) else action.key.function
