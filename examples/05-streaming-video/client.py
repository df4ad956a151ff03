"""Sends a video frame by frame, and shows or writes what comes back.

    python client.py --video video/dog.mjpeg --out boxes.mjpeg
    python client.py --webcam --show

Needs dcframework alone for a file of JPEGs (.mjpeg). For other videos, the webcam and the window:
pip install opencv-python
"""

import argparse
import re
import sys
import threading
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles

import dcf

WIDTH = 640  # pixels; the network looks at 300 x 300, so larger frames only take longer
JPEG = re.compile(rb"\xff\xd8\xff.*?\xff\xd9", re.DOTALL)


class Video:
    """Sends frames and times them.

    Args:
        frames: JPEGs; the next one is asked for when it is sent.
        in_flight: How many are on the way at once. With one, the function waits for the network
            between two frames; with many, each waits for those before it.
    """

    def __init__(self, frames, in_flight=2):
        self._frames = frames
        self._room = threading.Semaphore(in_flight)
        self._sent = deque()
        self.seconds = []  # from a frame's sending to its reply
        self.refused = []  # errors of single frames

    def messages(self):
        """What goes out. The client takes it in a thread of its own."""
        for frame in self._frames:
            self._room.acquire()
            self._sent.append(time.perf_counter())
            yield frame

    def replies(self, stream):
        """What comes back, in the order in which it was sent."""
        for reply in stream:
            self._answered()
            yield reply

    def skip(self, error):
        """Takes the error that has come in the place of a frame."""
        self.refused.append(error)
        self._answered()

    def _answered(self):
        self.seconds.append(time.perf_counter() - self._sent.popleft())
        self._room.release()


def jpegs(path):
    """The frames of a file that holds nothing but JPEGs, as webcams write them."""
    return JPEG.findall(Path(path).read_bytes())


def captured(source):
    """Frames of a webcam (a number) or of a video file."""
    import cv2

    capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        sys.exit(f"{source!r} cannot be opened as a video")
    try:
        while True:
            is_there, frame = capture.read()
            if not is_there:
                return
            height, width = frame.shape[:2]
            if width > WIDTH:
                frame = cv2.resize(frame, (WIDTH, height * WIDTH // width))
            yield cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    finally:
        capture.release()


def show(reply):
    """Shows a frame in a window; returns whether somebody pressed a key."""
    import cv2
    import numpy as np

    cv2.imshow("detect-video", cv2.imdecode(np.frombuffer(reply, np.uint8), cv2.IMREAD_COLOR))
    return cv2.waitKey(1) >= 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--video", metavar="FILE")
    source.add_argument("--webcam", type=int, nargs="?", const=0, metavar="NUMBER")
    parser.add_argument("--out", metavar="FILE.mjpeg", help="write the annotated frames")
    parser.add_argument("--show", action="store_true", help="show them; any key ends it")
    parser.add_argument("--in-flight", type=int, default=2, metavar="N", help="frames at once")
    parser.add_argument("-g", "--gateway", metavar="HOST:PORT")
    given = parser.parse_args()

    if given.webcam is not None:
        frames = captured(given.webcam)
    else:
        frames = jpegs(given.video) if given.video.endswith(".mjpeg") else captured(given.video)
    video = Video(frames, given.in_flight)
    with ExitStack() as stack:
        out = stack.enter_context(Path(given.out).open("wb")) if given.out else None
        client = stack.enter_context(dcf.Client(given.gateway))
        begin = time.perf_counter()
        stream = client.stream("detect-video", video.messages(), on_error=video.skip)
        for reply in video.replies(stack.enter_context(stream)):
            if out:
                out.write(reply)
            if given.show and show(reply):
                break
        spent = time.perf_counter() - begin

    report(video, spent)


def report(video, spent):
    """Prints how fast it went."""
    count = len(video.seconds)
    line = f"{count} frames in {spent:.2f} s, {count / spent:.1f}/s"
    if count > 1:
        centiles = quantiles(video.seconds, n=100, method="inclusive")
        line += f"; latency p50 {centiles[49] * 1000:.1f} ms, p95 {centiles[94] * 1000:.1f} ms"
    print(line)
    for error in video.refused:
        print(f"a frame was refused: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
