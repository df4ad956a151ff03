"""SSD: objects in a picture, by one run of one network (arXiv 1512.02325)."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent  # found from this file, wherever the function runs
SIDE = 300  # the network looks at 300 x 300 pixels
CANDIDATES = 200  # more boxes than this are not compared: a bound on time for odd pictures


@dataclass
class Found:
    """One object: its class, how sure the network is (0 to 1), and its box in pixels."""

    name: str
    confidence: float
    xmin: int
    ymin: int
    xmax: int
    ymax: int

    def as_text(self):
        """The object as the clients of this function know it: every value a string."""
        return {
            "class": self.name,
            "confidence": f"{self.confidence:.4f}",
            "xmin": str(self.xmin),
            "ymin": str(self.ymin),
            "xmax": str(self.xmax),
            "ymax": str(self.ymax),
        }


class Detector:
    """SSDLite on MobileNet v2, trained on COCO: 80 classes of things."""

    def __init__(self, threshold=0.5, overlap=0.5):
        """Loads the network.

        Args:
            threshold: Objects that the network is less sure of are left out.
            overlap: Of two boxes of one class that share more than this (intersection over
                union), only the better one stays.
        """
        self.threshold = threshold
        self.overlap = overlap
        self.names = (HERE / "coco_labels.txt").read_text(encoding="utf-8").splitlines()
        self.session = _session(HERE / "ssdlite_mobilenet_v2_coco.onnx")
        # The first run is slower than the others; better now than at somebody's first call.
        self(Image.new("RGB", (SIDE, SIDE)))

    def __call__(self, picture):
        """The objects in an RGB picture, best first."""
        boxes, scores = self._run(picture)
        # One candidate for each box and class that is good enough, best first.
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
            self._found(picture.size, boxes[b], kind=k, score=scores[b, k])
            for b, k in zip(box[keep], kind[keep], strict=True)
        ]

    def _run(self, picture):
        """Boxes as (ymin, xmin, ymax, xmax) in 0 to 1, and for each a score for every class."""
        small = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        batch = np.asarray(small, dtype=np.uint8)[None]
        boxes, scores = self.session.run(["boxes", "scores"], {"image": batch})
        return boxes[0].clip(0, 1), scores[0]

    def _found(self, size, box, *, kind, score):
        width, height = size
        ymin, xmin, ymax, xmax = (box * (height, width, height, width)).round().astype(int).tolist()
        return Found(self.names[kind], float(score), xmin, ymin, xmax, ymax)


def _session(model):
    """The network on the first GPU where there is one, else on the CPU."""
    wanted = ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        # onnxruntime-gpu is installed. Its CUDA libraries may lie among the Python packages.
        onnxruntime.preload_dlls()
        wanted.insert(0, "CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    # One thread on a CPU: a network this small gets slower with more of them, not faster, and the
    # other cores are for the other copies of this function.
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=wanted)
    print(f"SSD runs on {session.get_providers()[0]}", file=sys.stderr)
    return session


def _overlaps(boxes):
    """Intersection over union of each box with each other one, n x n."""
    top_left = np.maximum(boxes[:, None, :2], boxes[:, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared = (bottom_right - top_left).clip(0).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    # A box without area shares nothing; the tiny number keeps 0 / 0 out.
    return shared / np.maximum(area[:, None] + area - shared, 1e-12)
