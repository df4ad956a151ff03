"""Handlers in the style of the original's users run unchanged in a folder that ``init`` created."""

import base64
import io
import json
import shutil
import textwrap
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HELLO = """
class Handler:
    def __init__(self):
        pass

    def __call__(self, req):
        # change this line
        return "Hello DCF"
"""

STFT = """
# -*- coding: utf-8 -*-
import base64
import io
import os

import matplotlib as m
import numpy as np
from PIL import Image

# a function has no display
if os.environ.get("DISPLAY", "") == "":
    print("no display: the Agg backend draws")
    m.use("Agg")

import matplotlib.pyplot as plt
import scipy.io.wavfile as wav
from numpy.lib import stride_tricks


def frames_of(signal, size):
    hop = size // 2
    padded = np.append(np.zeros(hop), signal)
    count = int(np.ceil((len(padded) - size) / float(hop))) + 1
    padded = np.append(padded, np.zeros(size))
    step = padded.strides[0]
    frames = stride_tricks.as_strided(
        padded, shape=(count, size), strides=(step * hop, step)
    ).copy()
    return np.fft.rfft(frames * np.hanning(size))


def draw(raw, size=2 ** 10, colormap="jet"):
    rate, samples = wav.read(io.BytesIO(raw))
    levels = 20.0 * np.log10(np.abs(frames_of(samples, size)) / 10e-6 + 1e-12)
    figure = plt.figure(figsize=(15, 7.5))
    plt.axis("off")
    plt.subplots_adjust(top=1, bottom=0, right=1, left=0, hspace=0, wspace=0)
    plt.imshow(np.transpose(levels), origin="lower", aspect="auto", cmap=colormap)
    plt.colorbar()
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[:, :, :3].copy()
    figure.clear()
    m.pyplot.close()
    return image


class Handler:
    def __init__(self):
        pass

    def __call__(self, req):
        picture = Image.fromarray(draw(req.input).astype("uint8"))
        png = io.BytesIO()
        picture.save(png, "PNG")
        png.seek(0)
        return base64.b64encode(png.read()).decode("utf-8")
"""

SSD = """
import base64
import io
import json
import os
import sys

import numpy as np
from PIL import Image

sys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)), "models/ssd"))
from predict import Predictor


class Handler:
    def __init__(self):
        self.predictor = Predictor()

    def __call__(self, req):
        picture = Image.open(io.BytesIO(base64.decodebytes(req.input)))
        return json.dumps(self.predictor(np.array(picture.convert("RGB"))))
"""

PREDICT = """
import os

import numpy as np
import onnxruntime
from PIL import Image


class Predictor:
    def __init__(self):
        here = os.path.dirname(os.path.realpath(__file__))
        self.labels = open(os.path.join(here, "coco_labels.txt")).read().split("\\n")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.path.join(here, "checkpoints", "ssd.onnx"), options,
            providers=["CPUExecutionProvider"],
        )

    def __call__(self, image):
        height, width = image.shape[:2]
        small = np.asarray(Image.fromarray(image).resize((300, 300), Image.BILINEAR))[None]
        boxes, scores = self.session.run(["boxes", "scores"], {"image": small})
        best = np.unravel_index(scores[0].argmax(), scores[0].shape)
        ymin, xmin, ymax, xmax = boxes[0][best[0]] * (height, width, height, width)
        return [{
            "class": self.labels[best[1]],
            "confidence": str(scores[0][best]),
            "xmin": str(int(xmin)), "ymin": str(int(ymin)),
            "xmax": str(int(xmax)), "ymax": str(int(ymax)),
        }]
"""


@pytest.fixture
def project(dcf, tmp_path: Path):
    """Run ``init``, then write the handler and requirements.txt as an author would."""

    def make(name: str, handler: str, requirements: str = "") -> Path:
        result = dcf("function", "init", name, "--runtime", "python", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        folder = tmp_path / name
        (folder / "src" / "handler.py").write_text(textwrap.dedent(handler).lstrip())
        (folder / "requirements.txt").write_text(requirements)
        return folder

    return make


def test_init_prints_what_the_original_printed(dcf, tmp_path):
    result = dcf("function", "init", "hello-dcf", "--runtime", "python", cwd=tmp_path)
    assert result.stdout.decode().splitlines() == [
        "Directory: hello-dcf is created.",
        "Function handler created in directory: hello-dcf/src",
        "Rewrite the function handler code in hello-dcf/src directory",
        "Config file written: config.yaml",
    ]
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        "hello-dcf/config.yaml",
        "hello-dcf/Dockerfile",
        "hello-dcf/requirements.txt",
        "hello-dcf/src/__init__.py",
        "hello-dcf/src/handler.py",
    } <= files


def test_the_template_returns_its_input(dcf, tmp_path):
    assert dcf("function", "init", "echo", cwd=tmp_path).returncode == 0
    assert dcf("function", "run", "echo", input=b"\x00as it is", cwd=tmp_path).stdout == (
        b"\x00as it is"
    )


def test_hello_runs(dcf, project):
    folder = project("hello-dcf", HELLO)
    built = dcf("function", "build", "-f", "config.yaml", "-v", cwd=folder)
    assert built.returncode == 0
    assert b"Building function (hello-dcf) ..." in built.stderr
    result = dcf("function", "run", "hello-dcf", input=b"Hello\n", cwd=folder)
    assert result.stdout == b"Hello DCF"


def test_stft_runs(dcf, project, examples):
    folder = project("stft", STFT, "numpy\nmatplotlib\nscipy\npillow\n")
    sound = (examples / "03-stft" / "sounds" / "guitar.wav").read_bytes()
    # The original's framing takes one channel; the second channel is dropped.
    mono = _first_channel(sound)
    result = dcf("function", "run", "stft", input=mono, cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    picture = Image.open(io.BytesIO(base64.b64decode(result.stdout)))
    assert picture.size == (1500, 750)
    assert np.asarray(picture).std() > 10
    assert b"no display: the Agg backend draws" in result.stderr


def test_the_layout_of_ssd_runs(dcf, project, examples):
    folder = project("ssd-gpu", SSD, "numpy\npillow\nonnxruntime\n")
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace('gpu: ""', 'gpu: "1"', 1))
    model = folder / "src" / "models" / "ssd"
    (model / "checkpoints").mkdir(parents=True)
    source = examples / "02-object-detection-ssd"
    shutil.copy(
        source / "src/models/ssdlite_mobilenet_v2_coco.onnx", model / "checkpoints/ssd.onnx"
    )
    shutil.copy(source / "src/models/coco_labels.txt", model)
    (model / "predict.py").write_text(PREDICT)
    picture = base64.encodebytes((source / "pictures" / "cat_chelsea.png").read_bytes())
    result = dcf("function", "run", "ssd-gpu", input=picture, cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    (detection,) = json.loads(result.stdout)
    assert detection["class"] == "cat"
    assert float(detection["confidence"]) > 0.9
    assert all(isinstance(value, str) for value in detection.values())


def test_a_config_of_the_original_is_read(dcf, project):
    folder = project("ssd-gpu", HELLO)
    (folder / "config.yaml").write_text(
        textwrap.dedent("""
        functions:
          ssd-gpu:
            runtime: python
            desc: ""
            maintainer: ""
            handler:
              dir: ./src
              file: ""
              name: Handler
            docker_registry: registry.example:5001
            image: registry.example:5001/ssd-gpu
            limits:
              memory: ""
              cpu: ""
              gpu: "1"
            build_args:
            - CUDA_VERSION=9.0
            - CUDNN_VERSION=7.4.1.5
            - UBUNTU_VERSION=16.04
        dcf:
          gateway: gateway.example:32222
        """).lstrip()
    )
    result = dcf("function", "run", "ssd-gpu", input=b"x", cwd=folder)
    assert result.stdout == b"Hello DCF"


def _first_channel(sound: bytes) -> bytes:
    with wave.open(io.BytesIO(sound)) as stereo:
        rate, channels = stereo.getframerate(), stereo.getnchannels()
        frames = np.frombuffer(stereo.readframes(stereo.getnframes()), "<i2")
    mono = io.BytesIO()
    with wave.open(mono, "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        out.writeframes(frames.reshape(-1, channels)[:, 0].tobytes())
    return mono.getvalue()
