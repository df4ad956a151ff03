from dcf import BadRequest

from analysis import Analyser
from wav import BadSound, WavReader


class Handler:
    async def __call__(self, req):
        # Because of the yield, this is called once per stream. The reader and the analyser belong
        # to this stream and keep the end of a chunk for the next. The handler is async because
        # it mostly waits for sound: a thousand microphones can wait in one thread.
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
