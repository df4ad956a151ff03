from dcf import BadRequest

from analysis import Analyser
from wav import BadSound, WavReader


class Handler:
    async def __call__(self, req):
        # Called once for a stream, because of its yield. The end of one chunk is kept for the next
        # in what belongs to this stream; async, because most of the time it waits for sound, and
        # then a thousand microphones can wait in one thread.
        reader, analyser = WavReader(), None
        try:
            async for chunk in req.stream:
                samples = reader.feed(chunk)
                if reader.rate and analyser is None:
                    analyser = Analyser(reader.rate)
                if analyser:
                    for column in analyser.feed(samples):
                        yield column
            reader.end()
        except BadSound as error:
            raise BadRequest(str(error)) from error
        for column in analyser.end():
            yield column
