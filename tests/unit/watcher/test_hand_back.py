"""Taking back what no thread and no loop has begun, and how many bytes may wait."""

import asyncio
import threading

from dcf.function.request import Request
from dcf.watcher.body_budget import BodyBudget
from dcf.watcher.call import BodyProgress, Call, Clock, Recipient
from dcf.watcher.execution.loop_queue import LoopQueue
from dcf.watcher.execution.work_queue import WorkQueue


def call() -> Call:
    return Call(Request(b"", headers=()), Clock(0.0, 1.0), Recipient())


def progress(call: Call) -> BodyProgress:
    assert call.body is not None
    return call.body


def test_the_newest_are_taken_back_first_and_the_others_keep_their_order():
    handover = WorkQueue[int]()
    handover.give(range(6))
    assert handover.reclaim(2, lambda number: number % 2 == 0) == [4, 2]
    assert [handover.take() for _ in range(4)] == [0, 1, 3, 5]
    handover.give([7])
    assert handover.reclaim(9, lambda _: False) == []
    assert handover.take() == 7
    handover.close()


def test_what_is_put_back_wakes_a_thread_that_came_meanwhile():
    handover = WorkQueue[int]()
    taken: list[int] = []
    handover.give([1])
    inside, go_on = threading.Event(), threading.Event()

    def wanted(_: int) -> bool:
        inside.set()
        go_on.wait(5)
        return False

    reclaims = threading.Thread(target=handover.reclaim, args=(1, wanted))
    reclaims.start()
    inside.wait(5)
    takes = threading.Thread(target=lambda: taken.append(handover.take()))
    takes.start()
    go_on.set()
    takes.join(5)
    reclaims.join(5)
    assert taken == [1]
    handover.close()


def test_nothing_is_both_taken_and_taken_back():
    handover = WorkQueue[int]()
    taken: list[int] = []
    back: list[int] = []

    def work() -> None:
        while (number := handover.take()) >= 0:
            taken.append(number)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(0, 6000, 20):
        handover.give(range(start, start + 20))
        back += handover.reclaim(7, lambda number: number >= 0)
    handover.give([-1] * 3)
    for thread in threads:
        thread.join(5)
    assert sorted(taken + back) == list(range(6000))
    handover.close()


def test_a_mailbox_gives_back_what_its_loop_has_not_handled():
    async def run() -> list[int]:
        handled: list[int] = []
        mailbox = LoopQueue[int](asyncio.get_running_loop(), handled.append)
        mailbox.post(1)
        mailbox.post(2)
        assert mailbox.take_back() == [1, 2]
        mailbox.post(3)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return handled

    assert asyncio.run(run()) == [3]


def test_bodies_beyond_the_limit_wait_until_others_are_begun():
    async def run() -> None:
        budget = BodyBudget(100)
        first, second = call(), call()
        for one in (first, second):
            budget.begin(one)
        budget.add(first, 80)
        await asyncio.wait_for(budget.room(first), 1)
        budget.add(second, 30)
        # Nothing waits for the handler, so the oldest goes on alone.
        await asyncio.wait_for(budget.room(first), 1)
        waits = asyncio.ensure_future(budget.room(second))
        await asyncio.sleep(0)
        assert not waits.done()
        assert not progress(second).is_reading
        budget.add(first, 200)
        budget.complete(first)
        await asyncio.sleep(0)
        assert not waits.done()
        budget.release(first)
        await asyncio.wait_for(waits, 1)
        assert progress(second).is_reading
        assert progress(second).slack >= 0

    asyncio.run(run())


def test_the_next_one_goes_on_when_the_oldest_reader_is_gone():
    async def run() -> None:
        budget = BodyBudget(10)
        first, second = call(), call()
        for one in (first, second):
            budget.begin(one)
            budget.add(one, 10)
        waits = asyncio.ensure_future(budget.room(second))
        await asyncio.sleep(0)
        assert not waits.done()
        budget.release(first)
        await asyncio.wait_for(waits, 1)

    asyncio.run(run())


def test_a_released_body_counts_once():
    async def run() -> None:
        budget = BodyBudget(10)
        one = call()
        budget.begin(one)
        budget.add(one, 50)
        budget.complete(one)
        budget.release(one)
        budget.release(one)
        other = call()
        budget.begin(other)
        budget.add(other, 9)
        await asyncio.wait_for(budget.room(other), 1)

    asyncio.run(run())
