from dcf import BadRequest

from frames import BadFrame, annotate, read_frame, write_frame
from models.detector import Detector


class Handler:
    def __init__(self):
        # Loading is slower than detecting, so load once, not for every stream.
        self.detector = Detector()

    def __call__(self, req):
        # Called for each message of a stream; the return value is the reply to it.
        try:
            frame = read_frame(req.input)
        except BadFrame as error:
            # The error is the reply to this frame, and the stream continues with the next frame.
            raise BadRequest(str(error)) from error
        detections = self.detector(frame)
        annotate(frame, detections)
        return write_frame(frame, detections)
