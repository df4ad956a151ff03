"""Sends a video frame by frame, and shows or writes the annotated frames.

    python client.py --video video/dog.mjpeg --out boxes.mjpeg
    python client.py --webcam --show

A file of JPEGs (.mjpeg) needs only dcframework. Other videos, the webcam and the window need
OpenCV: pip install opencv-python
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

WIDTH = 640  # pixels; the network's input is 300 x 300, so larger frames only take longer
JPEG = re.compile(rb"\xff\xd8\xff.*?\xff\xd9", re.DOTALL)


class Video:
    """Sends frames and measures their latency.

    Args:
        frames: JPEGs; each is taken from the iterable when it is sent.
        in_flight: Maximum number of frames without a reply. With 1, the function is idle while a
            frame is on the network; with many, each frame waits for the frames before it.
    """

    def __init__(self, frames, in_flight=2):
        self._frames = frames
        self._slots = threading.Semaphore(in_flight)
        self._sent = deque()
        self.seconds = []  # from sending a frame to its reply
        self.errors = []  # errors of single frames

    def messages(self):
        """Yield the frames to send. The client iterates over them in another thread."""
        for frame in self._frames:
            self._slots.acquire()
            self._sent.append(time.perf_counter())
            yield frame

    def replies(self, stream):
        """Yield the replies, in the order of the frames."""
        for reply in stream:
            self._answered()
            yield reply

    def skip(self, error):
        """Record an error that is the reply to a frame."""
        self.errors.append(error)
        self._answered()

    def _answered(self):
        self.seconds.append(time.perf_counter() - self._sent.popleft())
        self._slots.release()


def jpegs(path):
    """Return the frames of a file that is a sequence of JPEGs, as webcams write them."""
    return JPEG.findall(Path(path).read_bytes())


def captured(source):
    """Yield the frames of a webcam (a number) or of a video file."""
    import cv2

    capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        sys.exit(f"expected a video or a webcam, could not open {source!r}")
    try:
        while True:
            has_frame, frame = capture.read()
            if not has_frame:
                return
            height, width = frame.shape[:2]
            if width > WIDTH:
                frame = cv2.resize(frame, (WIDTH, height * WIDTH // width))
            yield cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    finally:
        capture.release()


def show(reply):
    """Show a frame in a window; return whether a key was pressed."""
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
    parser.add_argument("--show", action="store_true", help="show them; any key stops")
    parser.add_argument("--in-flight", type=int, default=2, metavar="N", help="frames in flight")
    parser.add_argument("-g", "--gateway", metavar="HOST:PORT")
    options = parser.parse_args()

    if options.webcam is not None:
        frames = captured(options.webcam)
    else:
        video_file = options.video
        frames = jpegs(video_file) if video_file.endswith(".mjpeg") else captured(video_file)
    video = Video(frames, options.in_flight)
    with ExitStack() as stack:
        out = stack.enter_context(Path(options.out).open("wb")) if options.out else None
        client = stack.enter_context(dcf.Client(options.gateway))
        begin = time.perf_counter()
        stream = client.stream("detect-video", video.messages(), on_error=video.skip)
        for reply in video.replies(stack.enter_context(stream)):
            if out:
                out.write(reply)
            if options.show and show(reply):
                break
        seconds = time.perf_counter() - begin

    report(video, seconds)


def report(video, seconds):
    """Print the frame rate and the latencies."""
    count = len(video.seconds)
    line = f"{count} frames in {seconds:.2f} s, {count / seconds:.1f}/s"
    if count > 1:
        centiles = quantiles(video.seconds, n=100, method="inclusive")
        line += f"; latency p50 {centiles[49] * 1000:.1f} ms, p95 {centiles[94] * 1000:.1f} ms"
    print(line)
    for error in video.errors:
        print(f"a frame was rejected: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
