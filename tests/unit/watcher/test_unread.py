"""Connections whose clients do not read, without the connections."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from dcf.watcher.http.unread import Unread


class Transport:
    def __init__(self, size: int) -> None:
        self.size = size
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        self.is_aborted = True


class Loop:
    """Keeps what is to be called later."""

    def __init__(self) -> None:
        self.later: list[Any] = []

    def call_later(self, _seconds: float, act: Any) -> Any:
        self.later.append(act)
        return SimpleNamespace(cancel=lambda: None)

    def pass_time(self) -> None:
        due, self.later = self.later, []
        for act in due:
            act()


def made(most: int = 100) -> tuple[Loop, Any]:
    loop = Loop()
    return loop, cast("Any", Unread(cast("asyncio.AbstractEventLoop", loop), 1.0, most))


def test_who_reads_nothing_is_disconnected_and_who_reads_little_is_not():
    loop, unread = made()
    mute, slow, quick = Transport(30), Transport(30), Transport(30)
    for one in (mute, slow, quick):
        unread.add(one)
    slow.size = 29
    unread.discard(quick)
    loop.pass_time()
    assert [one.is_aborted for one in (mute, slow, quick)] == [True, False, False]
    loop.pass_time()
    assert slow.is_aborted
    assert not loop.later


def test_who_is_behind_for_longest_goes_when_there_is_no_more_room():
    _, unread = made(most=100)
    first, second, third = Transport(60), Transport(30), Transport(60)
    for one in (first, second, third):
        unread.add(one)
    assert [one.is_aborted for one in (first, second, third)] == [True, False, False]


def test_one_reply_alone_may_have_any_size():
    _, unread = made(most=100)
    large = Transport(1000)
    unread.add(large)
    assert not large.is_aborted
