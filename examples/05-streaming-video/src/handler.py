from dcf import BadRequest

from frames import BadFrame, annotate, read_frame, write_frame
from models.detector import Detector


class Handler:
    def __init__(self):
        # Loading takes longer than detecting, so it happens here: once, not for every stream.
        self.detector = Detector()

    def __call__(self, req):
        # Called for each message of a stream; what is returned goes back in its place.
        try:
            frame = read_frame(req.input)
        except BadFrame as error:
            # This frame is answered with the error, and the stream goes on with the next one.
            raise BadRequest(str(error)) from error
        found = self.detector(frame)
        annotate(frame, found)
        return write_frame(frame, found)
