"""The contract of an engine (``dcf.engines.base``) as tests that every engine must pass.

For pytest. An engine's test file contains this::

    class TestMyEngine(EngineContract):
        @pytest.fixture
        def lab(self):
            return my_lab       # an async context manager that yields a Bench
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from dcf.engines.base import Engine, ReplicaSpec
from dcf.errors import ReplicaUnknown, SecretNotFound
from dcf.model.function import Resources
from dcf.model.log import LogLine
from dcf.model.replica import Observation, ReplicaId, ReplicaState, follows

PATIENCE = 30.0
"""Maximum duration of one test in seconds."""

GRACE = 5.0
"""Seconds for a replica to end."""

HELLO = "hello from the replica"
"""Line that every replica of a bench prints when it starts."""


class Bench(Protocol):
    """An engine, and what a test needs besides it.

    Attributes:
        engine: The engine under test.
    """

    engine: Engine

    def spec(self, replica: ReplicaId, *, fails: bool = False, **function: Any) -> ReplicaSpec:
        """Return a replica that prints :data:`HELLO`, then serves or raises in its constructor.

        Args:
            replica: The replica's id.
            fails: Whether its constructor raises ZeroDivisionError.
            function: Fields of its ``FunctionSpec``, such as ``limits``. Secrets do not exist.
        """

    async def crash(self, replica: ReplicaId) -> None:
        """Kill a replica from outside, as ``kill -9`` does."""

    async def settle(self) -> None:
        """Let time pass on an engine whose time does not pass by itself."""

    def again(self) -> Engine:
        """Return another engine for the same replicas, as after a restart of the control plane."""


Lab = Callable[[], AbstractAsyncContextManager[Bench]]
"""Creates a bench without replicas, and ends what is left on it."""


def _scenario(
    test: Callable[[Any, Bench], Awaitable[None]],
) -> Callable[[Any, Lab], None]:
    """Turn an async test into one for pytest. Tasks that it leaves behind fail it."""

    def run(self: Any, lab: Lab) -> None:
        async def within() -> None:
            async with asyncio.timeout(PATIENCE), lab() as bench:
                await test(self, bench)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks outlived the test: {left}"

        asyncio.run(within())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


class Watch:
    """A stream of observations, with all that it has yielded."""

    def __init__(
        self,
        bench: Bench,
        first: tuple[Observation, ...],
        stream: AsyncGenerator[tuple[Observation, ...] | Observation, None],
    ) -> None:
        """Follow an engine of ``bench``.

        Args:
            bench: The engine's bench.
            first: The first item of ``stream``.
            stream: The engine's observations.
        """
        self._bench = bench
        self._first = list(first)
        self._stream = stream
        self.seen: list[Observation] = []

    async def until(self, replica: ReplicaId, state: ReplicaState) -> Observation:
        """Read until ``replica`` is observed in ``state``."""
        while True:
            observation = self._first.pop(0) if self._first else await self._change()
            self.seen.append(observation)
            if (observation.id, observation.state) == (replica, state):
                return observation

    async def _change(self) -> Observation:
        await self._bench.settle()
        seen = await anext(self._stream)
        assert isinstance(seen, Observation), "the state of all is the first item alone"
        return seen

    def states(self, replica: ReplicaId) -> list[ReplicaState]:
        """Return the states of ``replica`` that were observed."""
        return [seen.state for seen in self.seen if seen.id == replica]


@contextlib.asynccontextmanager
async def _watching(bench: Bench, engine: Engine | None = None) -> AsyncGenerator[Watch, None]:
    async with contextlib.aclosing((engine or bench.engine).observe()) as stream:
        first = await anext(stream)
        assert isinstance(first, tuple), "the state of all comes first"
        yield Watch(bench, first, stream)


A, B = ReplicaId("a-1"), ReplicaId("b-1")


class EngineContract:
    """The tests that every engine must pass."""

    @_scenario
    async def test_a_replica_starts_serves_and_is_stopped(self, bench: Bench) -> None:
        """Each state is seen once, in order; READY has an endpoint, EXITED a reason."""
        async with _watching(bench) as watch:
            assert await bench.engine.start(bench.spec(A)) == A
            ready = await watch.until(A, ReplicaState.READY)
            await bench.engine.stop(A, GRACE)
            ended = await watch.until(A, ReplicaState.EXITED)

        assert ready.endpoint
        assert ready.exit is None
        assert ended.exit is not None
        assert (ended.exit.code, ended.exit.asked) == (0, True)
        states = watch.states(A)
        assert states[0] is ReplicaState.STARTING
        assert all(follows(before, after) for before, after in itertools.pairwise(states))

    @_scenario
    async def test_a_start_can_be_repeated(self, bench: Bench) -> None:
        """One id is one replica, no matter how often it is started."""
        async with _watching(bench) as watch:
            await asyncio.gather(*(bench.engine.start(bench.spec(A)) for _ in range(3)))
            await watch.until(A, ReplicaState.READY)
            await bench.engine.start(bench.spec(A))
            await bench.engine.start(bench.spec(B))
            await watch.until(B, ReplicaState.READY)

        assert watch.states(A) == [ReplicaState.STARTING, ReplicaState.READY]

    @_scenario
    async def test_a_crash_is_seen_with_its_reason(self, bench: Bench) -> None:
        """A killed replica is EXITED; the others continue."""
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A))
            await bench.engine.start(bench.spec(B))
            await watch.until(A, ReplicaState.READY)
            if ReplicaState.READY not in watch.states(B):
                await watch.until(B, ReplicaState.READY)
            await bench.crash(A)
            ended = await watch.until(A, ReplicaState.EXITED)

        assert ended.exit is not None
        assert ended.exit.code == -9  # noqa: PLR2004  SIGKILL
        assert ended.exit.reason
        assert not ended.exit.asked
        assert ended.exit.at > 0
        assert watch.states(B)[-1] is ReplicaState.READY

    @_scenario
    async def test_a_handler_that_cannot_start_tells_why(self, bench: Bench) -> None:
        """FAILED and EXITED both carry error and traceback."""
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A, fails=True))
            failed = await watch.until(A, ReplicaState.FAILED)
            ended = await watch.until(A, ReplicaState.EXITED)

        for seen in (failed, ended):
            assert seen.exit is not None
            assert seen.exit.error == "HandlerInitFailed"
            assert "ZeroDivisionError" in seen.exit.traceback
            assert not seen.exit.asked
        assert ended.exit is not None
        assert ended.exit.code

    @_scenario
    async def test_what_ended_is_seen_until_it_is_stopped(self, bench: Bench) -> None:
        """A start does not bring it back; a stop frees its id."""
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A))
            await watch.until(A, ReplicaState.READY)
            await bench.crash(A)
            await watch.until(A, ReplicaState.EXITED)
        await bench.engine.start(bench.spec(A))
        async with _watching(bench) as watch:
            seen = await watch.until(A, ReplicaState.EXITED)
        assert seen.exit is not None
        await bench.engine.stop(A, GRACE)
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A))
            await watch.until(A, ReplicaState.READY)

    @_scenario
    async def test_a_stop_can_be_repeated(self, bench: Bench) -> None:
        """Stopping an unknown replica does nothing; two stops at once end it once."""
        await bench.engine.stop(A, GRACE)
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A))
            await watch.until(A, ReplicaState.READY)
            await asyncio.gather(*(bench.engine.stop(A, GRACE) for _ in range(2)))
            await bench.engine.stop(A, GRACE)
            await watch.until(A, ReplicaState.EXITED)
            await bench.engine.start(bench.spec(B))
            await watch.until(B, ReplicaState.READY)

        assert watch.states(A).count(ReplicaState.EXITED) == 1

    @_scenario
    async def test_a_replica_can_be_stopped_while_it_starts(self, bench: Bench) -> None:
        """It is EXITED, as requested."""
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A))
            await watch.until(A, ReplicaState.STARTING)
            await bench.engine.stop(A, GRACE)
            ended = await watch.until(A, ReplicaState.EXITED)

        assert ended.exit is not None
        assert ended.exit.asked

    @_scenario
    async def test_another_engine_finds_the_replicas(self, bench: Bench) -> None:
        """After a restart of the control plane, ids and endpoints are the same, and stop works."""
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A))
            ready = await watch.until(A, ReplicaState.READY)
        again = bench.again()
        async with _watching(bench, again) as watch:
            found = await watch.until(A, ReplicaState.READY)
            await again.stop(A, GRACE)
            await watch.until(A, ReplicaState.EXITED)

        assert found == ready

    @_scenario
    async def test_all_replicas_are_told_at_once_and_first(self, bench: Bench) -> None:
        """The first item is empty without replicas, and otherwise has all of them."""
        async with contextlib.aclosing(bench.engine.observe()) as stream:
            nothing = await anext(stream)
        await bench.engine.start(bench.spec(A))
        await bench.engine.start(bench.spec(B))
        async with contextlib.aclosing(bench.engine.observe()) as stream:
            first = await anext(stream)

        assert nothing == ()
        assert isinstance(first, tuple)
        assert {seen.id for seen in first} == {A, B}

    @_scenario
    async def test_logs_are_kept_and_followed(self, bench: Bench) -> None:
        """The log can be read during the replica's life and after; following ends with it."""
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A))
            await watch.until(A, ReplicaState.READY)
        if not bench.engine.features.logs:
            assert await _has_no_log(bench.engine, A)
            return
        found = await _all(bench.engine.logs(A))
        following = asyncio.create_task(_all(bench.engine.logs(A, follow=True)))
        await asyncio.sleep(0.05)
        await bench.engine.stop(A, GRACE)
        followed = await following
        hello = next(line for line in found if line.text == HELLO)

        assert hello in followed
        assert hello in await _all(bench.engine.logs(A, since=hello.at))
        assert hello not in await _all(bench.engine.logs(A, since=hello.at + 0.002))
        assert await _has_no_log(bench.engine, B)

    @_scenario
    async def test_a_replica_that_runs_is_not_suspended(self, bench: Bench) -> None:
        """Nor is an unknown replica. ``log_stacks`` accepts both."""
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A))
            await watch.until(A, ReplicaState.READY)
        suspended = [await bench.engine.is_suspended(replica) for replica in (A, B)]
        for replica in (A, B):
            await bench.engine.log_stacks(replica)

        assert suspended == [False, False]

    @_scenario
    async def test_the_capacity_is_more_than_nothing(self, bench: Bench) -> None:
        """It names memory, cores and GPUs."""
        capacity = await bench.engine.capacity()

        assert capacity.memory
        assert capacity.cpu
        assert capacity.gpu is not None
        assert await bench.engine.describe_gpus()

    @_scenario
    async def test_an_artifact_can_be_prepared_again(self, bench: Bench) -> None:
        """The second call does nothing, and a replica starts from the prepared artifact."""
        spec = bench.spec(A)
        for _ in range(2):
            await bench.engine.prepare(spec.artifact, spec.spec)
        async with _watching(bench) as watch:
            await bench.engine.start(spec)
            await watch.until(A, ReplicaState.READY)

    @_scenario
    async def test_a_missing_secret_is_found_before_the_start(self, bench: Bench) -> None:
        """``check`` raises for it and accepts a function without secrets."""
        await bench.engine.check(bench.spec(A).spec)
        try:
            await bench.engine.check(bench.spec(B, secrets=("no-such-secret",)).spec)
        except SecretNotFound:
            pass
        else:
            raise AssertionError("check accepted a missing secret")

    @_scenario
    async def test_cleanup_leaves_living_replicas_alone(self, bench: Bench) -> None:
        """It may run during a start as well."""
        async with _watching(bench) as watch:
            await asyncio.gather(
                bench.engine.start(bench.spec(A)),
                bench.engine.cleanup(),
                bench.engine.start(bench.spec(B)),
            )
            await watch.until(A, ReplicaState.READY)
            if ReplicaState.READY not in watch.states(B):
                await watch.until(B, ReplicaState.READY)
            await bench.engine.cleanup()
            await bench.engine.stop(A, GRACE)
            await bench.engine.cleanup()

        assert watch.states(B)[-1] is ReplicaState.READY

    @_scenario
    async def test_limits_are_reported_by_an_engine_that_has_them(self, bench: Bench) -> None:
        """``Observation.limits`` says what enforces each of them."""
        limits = Resources(memory=1 << 30, cpu=1.0)
        async with _watching(bench) as watch:
            await bench.engine.start(bench.spec(A, limits=limits))
            ready = await watch.until(A, ReplicaState.READY)

        kinds = [text.partition(":")[0] for text in ready.limits]
        assert kinds == (["memory", "cpu"] if bench.engine.features.limits else [])

    @_scenario
    async def test_a_listening_socket_is_handed_over_where_it_can_be(self, bench: Bench) -> None:
        """Two replicas can serve one socket; it stays open after both."""
        if not bench.engine.features.listener:
            return
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with _watching(bench) as watch:
                for replica in (A, B):
                    await bench.engine.start(bench.spec(replica), listener)
                    ready = await watch.until(replica, ReplicaState.READY)
                    assert ready.endpoint == f"tcp:127.0.0.1:{listener.getsockname()[1]}"
                for replica in (A, B):
                    await bench.engine.stop(replica, GRACE)
            with socket.create_connection(listener.getsockname()):
                pass


async def _has_no_log(engine: Engine, replica: ReplicaId) -> bool:
    try:
        await _all(engine.logs(replica))
    except ReplicaUnknown:
        return True
    return False


async def _all(stream: AsyncGenerator[LogLine, None]) -> list[LogLine]:
    async with contextlib.aclosing(stream):
        return [line async for line in stream]
