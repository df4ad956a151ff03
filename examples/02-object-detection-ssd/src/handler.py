from dcf import Reply

from models.detector import Detector
from picture import BadPicture, read_picture


class Handler:
    def __init__(self):
        # Loading takes longer than detecting, so it happens here: once, not at every call.
        self.detector = Detector()

    def __call__(self, req):
        try:
            picture = read_picture(req.input)
        except BadPicture as error:
            # What was sent is at fault, not this function: 400, not 500.
            return Reply({"error": str(error)}, status=400)
        return [found.as_text() for found in self.detector(picture)]
