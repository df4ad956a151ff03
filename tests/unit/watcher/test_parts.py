"""The watcher's small parts, one by one."""

import asyncio
import threading

import pytest

from dcf.errors import CallError, HandlerRaised
from dcf.function.request import Request
from dcf.settings import WatcherSettings
from dcf.telemetry.ids import new_request_id
from dcf.watcher.body_budget import BodyBudget
from dcf.watcher.call import TRANSITIONS, Call, CallState, Clock, Recipient
from dcf.watcher.deadlines import CallMonitor
from dcf.watcher.execution.loading import is_async
from dcf.watcher.execution.loop_queue import LoopQueue
from dcf.watcher.execution.response_stream import AHEAD, PIECE, ResponseStream
from dcf.watcher.tracebacks import LIMIT, author_traceback, summary


class Waits(Recipient):
    """A caller that keeps what it is notified of."""

    def __init__(self) -> None:
        self.outcomes: list[Call] = []
        self.watched: list[Call] = []

    def settled(self, call: Call) -> None:
        self.outcomes.append(call)

    def watch(self, call: Call) -> None:
        self.watched.append(call)


def _call(recipient: Recipient | None = None) -> Call:
    return Call(Request(), Clock(0.0, 1e9), recipient or Recipient(), request_id=b"1")


def test_ids_differ():
    assert len({new_request_id() for _ in range(1000)}) == 1000


def test_a_call_takes_only_the_ways_in_the_table():
    for before in CallState:
        for after in CallState:
            call = _call()
            call.state = before
            if after in TRANSITIONS[before]:
                call.to(after)
                assert call.state is after
            else:
                with pytest.raises(AssertionError):
                    call.to(after)


def test_a_call_that_is_given_up_has_its_first_reason():
    recipient = Waits()
    call = _call(recipient)
    call.to(CallState.WAITING)
    call.end(CallError("first"))
    call.end(CallError("second"))
    assert recipient.outcomes == [call]
    call.outcome = HandlerRaised("interrupted")  # comes from another thread, at any time
    assert str(call.verdict) == "first"
    assert call.request.cancelled


def test_a_mailbox_keeps_the_order_of_each_sender():
    seen: list[tuple[int, int]] = []

    async def check() -> None:
        loop = asyncio.get_running_loop()
        box = LoopQueue[tuple[int, int]](loop, seen.append)

        def send(sender: int) -> None:
            for number in range(2000):
                box.post((sender, number))

        await asyncio.gather(*(asyncio.to_thread(send, sender) for sender in range(4)))
        await asyncio.sleep(0)

    asyncio.run(check())
    for sender in range(4):
        assert [number for who, number in seen if who == sender] == list(range(2000))


def test_a_mailbox_of_a_loop_that_ended_drops():
    loop = asyncio.new_event_loop()
    loop.close()
    LoopQueue[int](loop, print).post(1)


def test_a_pipe_passes_everything_in_order_and_holds_the_writer():
    chunks = [bytes([n % 256]) * 100_000 for n in range(100)]
    ahead = []

    async def check() -> bytes:
        pipe, room = ResponseStream(asyncio.get_running_loop()), threading.Event()
        written = 0

        def write() -> None:
            nonlocal written
            for chunk in chunks:
                room.clear()
                written += len(chunk)
                if not pipe.put(chunk) and pipe.notify_room(room.set):
                    room.wait(10)
            pipe.finish()

        writer = threading.Thread(target=write)
        writer.start()
        parts = []
        read = 0
        while (part := await pipe.get()) is not None:
            ahead.append(written - read)
            read += len(part)
            parts.append(part)
            await asyncio.sleep(0.001)
        writer.join()
        return b"".join(parts)

    assert asyncio.run(check()) == b"".join(chunks)
    assert max(ahead) <= AHEAD + PIECE + 3 * 100_000


def test_a_pipe_tells_the_failure_after_the_chunks_before_it():
    async def check() -> None:
        pipe = ResponseStream(asyncio.get_running_loop())
        pipe.put(b"a")
        pipe.finish(HandlerRaised("late"))
        assert await pipe.get() == b"a"
        with pytest.raises(HandlerRaised, match="late"):
            await pipe.get()

    asyncio.run(check())


def test_an_abandoned_pipe_frees_its_writer():
    async def check() -> None:
        pipe, room = ResponseStream(asyncio.get_running_loop()), threading.Event()
        assert not pipe.put(bytes(AHEAD + 1))
        assert pipe.notify_room(room.set)
        pipe.abandon()
        assert room.is_set()
        assert not pipe.notify_room(room.set)
        assert pipe.abandoned
        assert await pipe.get() is None

    asyncio.run(check())


def test_the_monitor_rests_when_there_is_nothing_to_watch():
    recipient = Waits()

    async def check() -> None:
        monitor = CallMonitor(
            asyncio.get_running_loop(),
            WatcherSettings(),
            BodyBudget(1000),
            on_expired=print,
            on_stuck=print,
        )
        quick, lasting = _call(recipient), _call(recipient)
        for call in (quick, lasting):
            monitor.add(call)
            call.to(CallState.WAITING)
        monitor.discard(quick)
        await asyncio.sleep(0.12)
        assert set(recipient.watched) == {lasting}
        monitor.discard(lasting)
        await asyncio.sleep(0.06)
        assert list(monitor) == []
        assert not monitor._is_armed

    asyncio.run(check())


def test_which_handlers_are_async():
    class Plain:
        def __call__(self, req): ...

    class Async:
        async def __call__(self, req): ...

    class Stream:
        async def __call__(self, req):
            yield req

    async def function(req): ...

    assert [is_async(each) for each in (Plain, Plain(), len, lambda req: req)] == [False] * 4
    assert [is_async(each) for each in (Async, Async(), Stream, function)] == [True] * 4


def test_a_huge_message_is_cut():
    error = ValueError("x" * 1_000_000)
    assert len(author_traceback(error)) < LIMIT + 100
    assert len(summary(error)) < LIMIT + 100


def test_a_message_that_cannot_be_shown():
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert summary(Odd()).endswith("Odd: <its message cannot be shown>")
    assert "Odd" in author_traceback(Odd())
