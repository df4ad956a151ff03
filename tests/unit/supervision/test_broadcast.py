"""Each reader of a broadcast reads at its own pace."""

import asyncio

import pytest

from dcf.errors import ObserverTooSlow
from dcf.supervision.broadcast import Broadcast


def test_every_reader_gets_every_line_from_its_subscription_to_the_end():
    async def main():
        news = Broadcast()
        news.publish(b"too early ")
        with news.subscribe() as first:
            news.publish(b"one ")
            with news.subscribe() as second:
                news.publish(b"two ")
                assert await second.take() == b"two "
                waiting = asyncio.create_task(second.take())
                await asyncio.sleep(0)
                news.publish(b"three ")
                assert await waiting == b"three "
            news.end()
            assert await first.take() == b"one two three "
            assert await first.take() == b""
        assert not news.has_readers

    asyncio.run(main())


def test_a_reader_that_is_too_slow_is_dropped_and_the_others_are_not():
    async def main():
        news = Broadcast(limit=10)
        with news.subscribe() as slow, news.subscribe() as quick:
            for _ in range(5):
                news.publish(b"12345")
                assert await quick.take() == b"12345"
            with pytest.raises(ObserverTooSlow):
                await slow.take()

    asyncio.run(main())
