from dcf import Reply

from models.detector import Detector
from picture import BadPicture, read_picture


class Handler:
    def __init__(self):
        # Loading is slower than detecting, so load once, not in every call.
        self.detector = Detector()

    def __call__(self, req):
        try:
            picture = read_picture(req.input)
        except BadPicture as error:
            # The input is at fault, not this function: 400, not 500.
            return Reply({"error": str(error)}, status=400)
        return [detection.as_text() for detection in self.detector(picture)]
