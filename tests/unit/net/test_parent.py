"""The watch on the parent process."""

from __future__ import annotations

import asyncio
import os

from dcf.net.parent import watch_parent


def test_the_end_of_the_pipe_is_noticed_once():
    async def scenario():
        reading, writing = os.pipe()
        seen = []
        gone = asyncio.Event()

        def on_exit():
            seen.append("gone")
            gone.set()

        try:
            with watch_parent(on_exit, reading):
                os.write(writing, b"ignored")
                await asyncio.sleep(0.02)
                assert not seen
                os.close(writing)
                await asyncio.wait_for(gone.wait(), 10)
                await asyncio.sleep(0.02)
        finally:
            os.close(reading)
        return seen

    assert asyncio.run(scenario()) == ["gone"]


def test_after_the_context_nothing_is_called():
    async def scenario():
        reading, writing = os.pipe()
        seen = []
        with watch_parent(lambda: seen.append("gone"), reading):
            pass
        os.close(writing)
        await asyncio.sleep(0.02)
        os.close(reading)
        return seen

    assert asyncio.run(scenario()) == []
