"""A stream's connection over asyncio, below the client."""

import asyncio

import pytest
import uvloop
from websockets.frames import Opcode

from dcf import errors
from dcf.client.address import parse
from dcf.client.async_websocket import AsyncWebSocket
from unit.client.speaker import Speaker, frames


def test_a_reply_over_the_bound_ends_the_stream(server):
    def conversation(peer):
        speaker = Speaker(peer)
        speaker.send(b"x" * 100, b"x" * 101)
        speaker.wait_for_end()

    async def ask():
        address = parse(server.url)
        headers = [("host", address.authority)]
        stream = await AsyncWebSocket.open(address, "/", headers, max_message=100)
        try:
            assert await stream.receive() == [b"x" * 100]
            with pytest.raises(errors.BodyTooLarge):
                await stream.receive()
        finally:
            await stream.close()

    server.play(conversation)
    asyncio.run(ask())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_reason_is_read_where_sending_fails_first(server, loop):
    async def ask():
        address = parse(server.url)
        stream = await AsyncWebSocket.open(address, "/", [("host", address.authority)])
        await stream.send([b"x"])
        server.thread.join()  # the loop stands still, and reads nothing
        while not stream.is_over:
            await stream.send([b"x"])
        with pytest.raises(errors.BadRequest, match="not that"):
            await stream.receive()
        await stream.close()

    def conversation(peer):
        speaker = Speaker(peer)
        speaker.event()
        speaker.fail(errors.BadRequest("not that"))

    server.play(conversation)
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask())


def test_answers_to_pings_that_are_not_read_do_not_pile_up(server):
    def conversation(peer):
        speaker = Speaker(peer)
        block = frames((Opcode.PING, b"p" * 125)) * 1000
        for _ in range(60):
            speaker.raw(block)
        speaker.raw(frames((Opcode.PING, b"newest"), (Opcode.BINARY, b"sent")))
        while speaker.pong() != b"newest":
            pass
        speaker.end()

    unsent = []

    class Watched(AsyncWebSocket):
        def data_received(self, data):
            super().data_received(data)
            if self._transport is not None:
                unsent.append(self._transport.get_write_buffer_size())

    async def ask():
        address = parse(server.url)
        stream = await Watched.open(address, "/", [("host", address.authority)])
        assert await stream.receive() == [b"sent"]
        assert await stream.receive() == []
        await stream.close()
        # How much the system itself takes differs: nothing may be left here at all.
        assert max(unsent) < 1_000_000

    server.play(conversation)
    asyncio.run(ask())
