"""SSD: detects the objects of a picture in a single pass of one network (arXiv 1512.02325)."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent  # does not depend on the working directory
SIDE = 300  # pixels; the network's input is 300 x 300
CANDIDATES = 200  # boxes that are compared at most; bounds the time for unusual pictures


@dataclass
class Detection:
    """A detected object: its class, the confidence (0 to 1), and its box in pixels."""

    name: str
    confidence: float
    xmin: int
    ymin: int
    xmax: int
    ymax: int

    def as_text(self):
        """Return the object in the format of this function's reply: every value is a string."""
        return {
            "class": self.name,
            "confidence": f"{self.confidence:.4f}",
            "xmin": str(self.xmin),
            "ymin": str(self.ymin),
            "xmax": str(self.xmax),
            "ymax": str(self.ymax),
        }


class Detector:
    """SSDLite on MobileNet v2, trained on the 80 classes of COCO."""

    def __init__(self, threshold=0.5, overlap=0.5):
        """Load the network.

        Args:
            threshold: Objects with a lower confidence are dropped.
            overlap: Of two boxes of the same class that overlap by more than this (intersection
                over union), only the box with the higher confidence is kept.
        """
        self.threshold = threshold
        self.overlap = overlap
        self.names = (HERE / "coco_labels.txt").read_text(encoding="utf-8").splitlines()
        self.session = _session(HERE / "ssdlite_mobilenet_v2_coco.onnx")
        # The first run is slower than later ones, so it happens here and not in the first call.
        self(Image.new("RGB", (SIDE, SIDE)))

    def __call__(self, picture):
        """Return the objects in an RGB picture, highest confidence first."""
        boxes, scores = self._run(picture)
        # A candidate for each box and class above the threshold, highest score first.
        box, kind = np.nonzero(scores > self.threshold)
        best = np.argsort(-scores[box, kind], kind="stable")[:CANDIDATES]
        box, kind = box[best], kind[best]

        keep = np.ones(len(box), dtype=bool)
        rival = _overlaps(boxes[box]) > self.overlap
        rival &= kind[:, None] == kind
        for i in range(len(box)):
            if keep[i]:
                keep[i + 1 :] &= ~rival[i, i + 1 :]

        return [
            self._detection(picture.size, boxes[b], kind=k, score=scores[b, k])
            for b, k in zip(box[keep], kind[keep], strict=True)
        ]

    def _run(self, picture):
        """Return boxes as (ymin, xmin, ymax, xmax) in 0 to 1, and their scores for every class."""
        small = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        batch = np.asarray(small, dtype=np.uint8)[None]
        boxes, scores = self.session.run(["boxes", "scores"], {"image": batch})
        return boxes[0].clip(0, 1), scores[0]

    def _detection(self, size, box, *, kind, score):
        width, height = size
        ymin, xmin, ymax, xmax = (box * (height, width, height, width)).round().astype(int).tolist()
        name = self.names[kind]
        return Detection(name, float(score), xmin, ymin, xmax, ymax)


def _session(model):
    """Load the network on the first GPU, or on the CPU if there is no GPU."""
    providers = ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        # onnxruntime-gpu is installed. Its CUDA libraries may be in the Python packages.
        onnxruntime.preload_dlls()
        providers.insert(0, "CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    # One thread on a CPU: more threads slow a network of this size down, and the other cores are
    # for the other replicas of this function.
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=providers)
    print(f"SSD runs on {session.get_providers()[0]}", file=sys.stderr)
    return session


def _overlaps(boxes):
    """Return the intersection over union of each pair of boxes, n x n."""
    top_left = np.maximum(boxes[:, None, :2], boxes[:, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared = (bottom_right - top_left).clip(0).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    # A box without area overlaps nothing. The tiny number prevents 0 / 0.
    return shared / np.maximum(area[:, None] + area - shared, 1e-12)
