"""Start, stop and clean up replicas in background tasks, so that turns never wait for them."""

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
"""Maximum number of concurrent starts. Each needs a thread and may wait for an environment."""

RETRY = 0.1
"""Seconds before a start is retried that the supervisor did not accept."""

OVERDUE = 15.0
"""Seconds after a replica's own limit for its start or drain, or after its failure, until the
gateway ends it. A handler that holds the interpreter's lock keeps the watcher from enforcing a
limit."""


class ReplicaManager:
    """Executes the actions of turns, and records their results in the registry."""

    def __init__(
        self,
        registry: ReplicaRegistry,
        engine: Engine,
        watchers: WatcherSettings,
        *,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        """Create a manager without tasks.

        Args:
            registry: Records the results.
            engine: Where replicas run.
            watchers: The default settings of watchers.
            clock: Seconds since the epoch.
            wake: Called after each result.
        """
        self._registry = registry
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
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, key: ReplicaKey, revision: Revision) -> None:
        """Start a replica of a revision."""
        # The engine requires ids that were never used before.
        replica = ReplicaId(f"{key.id}-{secrets.token_hex(4)}")
        self._registry.starting(key, replica)
        self._run(self._start(replica, revision))

    def stop(self, record: ReplicaRecord, grace: float) -> None:
        """Stop a replica.

        Args:
            record: The replica.
            grace: Seconds for its calls in progress.
        """
        self._registry.draining(record.id)
        if not record.in_engine:
            reason = ReplicaExit(None, self._clock(), "no longer needed", asked=True)
            self._registry.never_began(record.id, reason)
        self._run(self._stop(record.id, grace))

    async def is_suspended(self, record: ReplicaRecord) -> bool:
        """Return whether a replica's process is stopped, as by SIGSTOP."""
        with contextlib.suppress(SupervisorError):
            return await self._engine.is_suspended(record.id)
        return False

    def stop_silent(self, record: ReplicaRecord, reason: str, *, is_suspended: bool) -> None:
        """Stop a replica that no longer answers, at once. This counts as a crash.

        Args:
            record: The replica.
            reason: The reason, for people.
            is_suspended: Whether its process is stopped. Any other process first logs its stacks.
        """
        self._registry.draining(record.id)
        record.exit = ReplicaExit(None, self._clock(), reason)
        self._run(self._stop_silent(record.id, has_stacks=not is_suspended))

    def forget(self, record: ReplicaRecord) -> None:
        """Forget a replica that has exited, and remove its files."""
        self._registry.forget(record.id)
        self._run(self._clear(record.id))

    def stop_overdue(self, now: float) -> float | None:
        """Stop replicas that stay in a state for too long; return when to check again.

        This covers a start or a drain that does not end, and a process that reports a failure but
        does not exit. The author's code could send such a report itself.
        """
        waits = []
        # Do not use the wall clock, which jumps when the machine wakes up.
        moment = time.monotonic()
        watched = {}
        for record in self._registry.all():
            limit = self._limits.get(record.state)
            if limit is None or not record.in_engine:
                continue
            state, since = self._watched.get(record.id, (None, 0.0))
            lasted = moment - since if state is record.state else 0.0
            is_overdue = lasted >= limit
            watched[record.id] = record.state, moment if is_overdue else moment - lasted
            waits.append(now + (limit if is_overdue else limit - lasted))
            if is_overdue:
                self._stop_overdue(record, limit, now)
        self._watched = watched
        return min(waits, default=None)

    def _stop_overdue(self, record: ReplicaRecord, limit: float, now: float) -> None:
        sentence = f"it was ended after {limit:g} s in state {record.state}"
        if record.state is ReplicaState.STARTING:
            sentence = f"the handler was not ready within {self._start_timeout:g} s"
            self._registry.failed(
                record.id, ReplicaExit(None, now, sentence, StartTimeout.__name__)
            )
        logger.error("%s: %s", record.id, sentence)
        self._run(self._stop(record.id, 0))

    async def close(self) -> None:
        """Cancel the tasks in progress. Running replicas stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start(self, replica: ReplicaId, revision: Revision) -> None:
        try:
            async with self._starts:
                record = self._registry.get(replica)
                if record is None or record.state is not ReplicaState.STARTING:
                    return
                await self._engine.start(
                    replica_spec(
                        replica, revision.number, revision.spec, revision.artifact, self._watchers
                    )
                )
        except SupervisorError as error:
            # The function is not at fault, so this is not a crash: the next turn starts a replica.
            logger.warning("%s could not be started, retrying: %s", replica, error)
            await asyncio.sleep(RETRY)
            self._registry.forget(replica)
        except DcfError as error:
            self._never_began(replica, error, str(error))
        except Exception as error:
            logger.exception("%s could not be started", replica)
            self._never_began(replica, error, f"a bug in the gateway: {error!r}")
        finally:
            self._wake()

    def _never_began(self, replica: ReplicaId, error: Exception, sentence: str) -> None:
        kind = type(error).__name__
        traceback = getattr(error, "traceback", "")
        self._registry.never_began(
            replica, ReplicaExit(None, self._clock(), sentence, kind, traceback)
        )

    async def _stop(self, replica: ReplicaId, grace: float) -> None:
        try:
            await self._engine.stop(replica, grace)
        except SupervisorError as error:
            logger.warning("%s could not be stopped: %s", replica, error)
        finally:
            self._wake()

    async def _stop_silent(self, replica: ReplicaId, *, has_stacks: bool) -> None:
        if has_stacks:
            with contextlib.suppress(SupervisorError):
                await self._engine.log_stacks(replica)
        await self._stop(replica, 0)

    async def _clear(self, replica: ReplicaId) -> None:
        with contextlib.suppress(SupervisorError):  # a new supervisor does not know the replica
            await self._engine.stop(replica, 0)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("an action on a replica failed (a bug in the gateway)", exc_info=error)
