"""Starts, ends and clears away replicas, beside the turns, which wait for nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any

from dcf.controlplane.replicas.replica_registry import ReplicaRecord, ReplicaRegistry
from dcf.engines.base import Engine
from dcf.engines.spec import replica_spec
from dcf.errors import DcfError, StartTimeout, SupervisorError
from dcf.model.observed import ReplicaKey
from dcf.model.replica import ReplicaExit, ReplicaId, ReplicaState
from dcf.model.revision import Revision
from dcf.reconciler.backoff import RULES
from dcf.settings import WatcherSettings

logger = logging.getLogger("dcf.controlplane")

STARTS_AT_A_TIME = 4
"""Concurrent starts: each occupies a thread, and may wait for an environment."""

RETRY = 0.1
"""Seconds before a start is tried again that the supervisor did not take."""

OVERDUE = 15.0
"""Seconds after a replica's own limit for its start or drain, or after its failure, until the
gateway ends it. A handler that holds the interpreter's lock keeps the watcher from enforcing a
limit."""


class ReplicaManager:
    """Does what turns ask for, and says what came of it to the fleet."""

    def __init__(
        self,
        fleet: ReplicaRegistry,
        engine: Engine,
        watchers: WatcherSettings,
        *,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        """Does nothing yet.

        Args:
            fleet: Hears what came of it.
            engine: Where replicas run.
            watchers: How watchers behave by default.
            clock: Seconds since the epoch.
            wake: Called when something came of it.
        """
        self._fleet = fleet
        self._engine = engine
        self._watchers = watchers
        self._start_timeout = watchers.start_timeout
        self._limits = {
            ReplicaState.STARTING: watchers.start_timeout + OVERDUE,
            ReplicaState.DRAINING: RULES.grace + OVERDUE,
            ReplicaState.FAILED: OVERDUE,
        }
        self._watched: dict[ReplicaId, tuple[ReplicaState, float]] = {}
        self._clock = clock
        self._wake = wake
        self._starts = asyncio.Semaphore(STARTS_AT_A_TIME)
        self._errands: set[asyncio.Task[None]] = set()

    def start(self, key: ReplicaKey, revision: Revision) -> None:
        """Starts a replica of a revision."""
        # The engine wants ids that there never were before.
        replica = ReplicaId(f"{key.id}-{secrets.token_hex(4)}")
        self._fleet.starting(key, replica)
        self._errand(self._start(replica, revision))

    def stop(self, one: ReplicaRecord, grace: float) -> None:
        """Ends a replica.

        Args:
            one: Which.
            grace: Seconds for the calls that it has.
        """
        self._fleet.draining(one.id)
        if not one.told:
            reason = ReplicaExit(None, self._clock(), "no longer wanted", asked=True)
            self._fleet.never_began(one.id, reason)
        self._errand(self._stop(one.id, grace))

    async def is_suspended(self, one: ReplicaRecord) -> bool:
        """Return whether a replica's process is stopped, as by SIGSTOP."""
        with contextlib.suppress(SupervisorError):
            return await self._engine.is_suspended(one.id)
        return False

    def end_silent(self, one: ReplicaRecord, reason: str, *, is_suspended: bool) -> None:
        """End a replica that no longer answers, at once. This counts as a crash.

        Args:
            one: The replica.
            reason: The reason, for people.
            is_suspended: Whether its process is stopped. Any other process first logs its stacks.
        """
        self._fleet.draining(one.id)
        one.exit = ReplicaExit(None, self._clock(), reason)
        self._errand(self._end_silent(one.id, has_stacks=not is_suspended))

    def forget(self, one: ReplicaRecord) -> None:
        """Clears away after a replica that has ended."""
        self._fleet.forget(one.id)
        self._errand(self._clear(one.id))

    def end_overdue(self, now: float) -> float | None:
        """End replicas that stay in a state for too long; return when to check again.

        This covers a start or a drain that does not end, and a process that reports a failure but
        does not exit. The author's code could send such a report itself.
        """
        waits = []
        # Do not use the wall clock, which jumps when the machine wakes up.
        moment = time.monotonic()
        watched = {}
        for one in self._fleet.all():
            limit = self._limits.get(one.state)
            if limit is None or not one.told:
                continue
            state, since = self._watched.get(one.id, (None, 0.0))
            lasted = moment - since if state is one.state else 0.0
            is_overdue = lasted >= limit
            watched[one.id] = one.state, moment if is_overdue else moment - lasted
            waits.append(now + (limit if is_overdue else limit - lasted))
            if is_overdue:
                self._end_overdue(one, limit, now)
        self._watched = watched
        return min(waits, default=None)

    def _end_overdue(self, one: ReplicaRecord, limit: float, now: float) -> None:
        sentence = f"it was {one.state} for {limit:g} s and is ended"
        if one.state is ReplicaState.STARTING:
            sentence = f"the handler was not ready within {self._start_timeout:g} s"
            self._fleet.failed(one.id, ReplicaExit(None, now, sentence, StartTimeout.__name__))
        logger.error("%s: %s", one.id, sentence)
        self._errand(self._stop(one.id, 0))

    async def close(self) -> None:
        """Leaves what is under way undone; the engine's replicas stay as they are."""
        for errand in self._errands:
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)

    async def _start(self, replica: ReplicaId, revision: Revision) -> None:
        try:
            async with self._starts:
                replica_record = self._fleet.get(replica)
                if replica_record is None or replica_record.state is not ReplicaState.STARTING:
                    return
                await self._engine.start(
                    replica_spec(
                        replica, revision.number, revision.spec, revision.artifact, self._watchers
                    )
                )
        except SupervisorError as error:
            # Not the function's fault: it is tried again as if it had not been.
            logger.warning("%s was not started: %s", replica, error)
            await asyncio.sleep(RETRY)
            self._fleet.forget(replica)
        except DcfError as error:
            self._never_began(replica, error, str(error))
        except Exception as error:
            logger.exception("%s was not started", replica)
            self._never_began(replica, error, f"a defect of the gateway: {error!r}")
        finally:
            self._wake()

    def _never_began(self, replica: ReplicaId, error: Exception, sentence: str) -> None:
        kind = type(error).__name__
        traceback = getattr(error, "traceback", "")
        self._fleet.never_began(
            replica, ReplicaExit(None, self._clock(), sentence, kind, traceback)
        )

    async def _stop(self, replica: ReplicaId, grace: float) -> None:
        try:
            await self._engine.stop(replica, grace)
        except SupervisorError as error:
            logger.warning("%s was not stopped: %s", replica, error)
        finally:
            self._wake()

    async def _end_silent(self, replica: ReplicaId, *, has_stacks: bool) -> None:
        if has_stacks:
            with contextlib.suppress(SupervisorError):
                await self._engine.log_stacks(replica)
        await self._stop(replica, 0)

    async def _clear(self, replica: ReplicaId) -> None:
        with contextlib.suppress(SupervisorError):  # it has forgotten everything itself then
            await self._engine.stop(replica, 0)

    def _errand(self, work: Coroutine[Any, Any, None]) -> None:
        errand = asyncio.get_running_loop().create_task(work)
        self._errands.add(errand)
        errand.add_done_callback(self._done)

    def _done(self, errand: asyncio.Task[None]) -> None:
        self._errands.discard(errand)
        if not errand.cancelled() and (error := errand.exception()) is not None:
            logger.error("something was left undone", exc_info=error)
