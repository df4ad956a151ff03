"""examples/03-stft: compares the numbers with SciPy's, and tests pictures and invalid sounds."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io.wavfile
import scipy.signal
from PIL import Image

from dcf.builder.bundle import find_files

Dcf = Callable[..., subprocess.CompletedProcess[bytes]]
Ask = Callable[..., tuple[int, str, bytes]]

RATE = 8000
FRAME = 1024
ROWS = FRAME // 2 + 1
PCM, ADPCM, FLOAT, MULAW, EXTENSIBLE = 1, 2, 3, 7, 0xFFFE


@pytest.fixture(scope="session")
def folder(examples: Path) -> Path:
    return examples / "03-stft"


@pytest.fixture(scope="session")
def guitar(folder: Path) -> bytes:
    return (folder / "sounds" / "guitar.wav").read_bytes()


@pytest.fixture(scope="session")
def spectrogram(folder: Path) -> Any:
    """Import the example's module."""
    path = folder / "src" / "spectrogram.py"
    spec = importlib.util.spec_from_file_location("example_spectrogram", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ask(serve: Callable[[Path], str], call: Callable[..., Any], folder: Path) -> Ask:
    url = serve(folder) + "/function/stft"

    def post(body: bytes, accept: str = "*/*") -> tuple[int, str, bytes]:
        status, content_type, reply = call(url, body, {"Accept": accept})
        return status, content_type, reply

    return post


def test_run_prints_the_base64_of_a_png_as_in_the_readme(
    dcf: Dcf, folder: Path, guitar: bytes
) -> None:
    result = dcf("function", "run", folder, input=guitar)

    assert result.returncode == 0, result.stderr.decode()
    image = decoded(base64.b64decode(result.stdout, validate=True))
    assert image.size == (518, ROWS)  # 3 s in steps of 256 samples, plus both ends
    assert is_not_blank(image)


def test_run_writes_the_png_that_the_readme_shows(
    dcf: Dcf, folder: Path, tmp_path: Path, guitar: bytes
) -> None:
    reply = tmp_path / "spectrogram.png"
    options = ("--input", "sounds/guitar.wav", "--reply", reply)
    result = dcf("function", "run", "stft", "-H", "Accept: image/png", *options, cwd=folder)

    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout == b""
    shown = decoded((folder / "spectrogram.png").read_bytes())
    assert np.array_equal(np.asarray(decoded(reply.read_bytes())), np.asarray(shown))


def test_the_sounds_are_not_in_the_bundle(folder: Path) -> None:
    assert {file.path for file in find_files(folder)} == {
        "Dockerfile",
        "README.md",
        "config.yaml",
        "requirements.txt",
        "src/__init__.py",
        "src/handler.py",
        "src/spectrogram.py",
    }


def test_a_client_that_accepts_png_gets_the_bytes(ask: Ask, guitar: bytes) -> None:
    status, content_type, text = ask(guitar)
    assert status == 200
    assert content_type.startswith("text/plain")

    status, content_type, png = ask(guitar, accept="image/png, */*;q=0.5")
    assert status == 200
    assert content_type == "image/png"
    assert png == base64.b64decode(text)


@pytest.mark.parametrize("frequency", [500, 1000, 3000])
def test_a_tone_is_a_line_at_its_row(ask: Ask, frequency: int) -> None:
    tone = np.sin(2 * np.pi * frequency * np.arange(2 * RATE) / RATE)
    _, _, png = ask(wav((tone * 20_000).astype("<i2").tobytes()), accept="image/png")

    brightness = np.asarray(decoded(png).convert("L"))
    middle = brightness[:, brightness.shape[1] // 2]
    row = ROWS - 1 - round(frequency * FRAME / RATE)  # row 0 of the spectrogram is 0 Hz
    assert middle.argmax() == row
    assert middle[row] > 200
    assert np.delete(middle, range(row - 3, row + 4)).max() < 30


def test_silence_is_black(ask: Ask) -> None:
    status, _, png = ask(wav(bytes(8000)), accept="image/png")

    assert status == 200
    assert not is_not_blank(decoded(png))


def test_a_sound_may_be_a_single_sample(ask: Ask) -> None:
    status, _, png = ask(wav(b"\x00\x40"), accept="image/png")

    assert status == 200
    assert decoded(png).size == (2, ROWS)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("empty", "expected a WAV file, got 0 other bytes"),
        ("text", "expected a WAV file, got 27 other bytes"),
        ("cut in the header", "expected a header of at least 16 bytes, got 10"),
        ("cut before the samples", "expected the samples of a WAV file, got the end of the file"),
        ("no samples", "expected samples, got a file without any"),
        ("half a sample", "expected samples, got a file without any"),
        ("ADPCM", "got format 2 with 4 bits"),
        ("mu-law", "got format 7 with 8 bits"),
        ("extensible ADPCM", "got format 2 with 16 bits"),
        ("no channels", "the header contradicts itself"),
        ("not a number", "expected finite samples, got infinite ones or NaN"),
    ],
)
def test_input_that_is_not_a_sound_is_rejected_with_the_reason(
    ask: Ask, case: str, reason: str
) -> None:
    whole = wav(bytes(100))
    bodies = {
        "empty": b"",
        "text": b"RIFF and raff, but no sound",
        "cut in the header": whole[:30],
        "cut before the samples": whole[:40],
        "no samples": wav(b""),
        "half a sample": wav(b"\x01"),
        "ADPCM": wav(bytes(100), ADPCM, bits=4),
        "mu-law": wav(bytes(100), MULAW, bits=8),
        "extensible ADPCM": wav(bytes(100), EXTENSIBLE, inner=ADPCM),
        "no channels": wav(bytes(100), channels=0),
        "not a number": wav(np.full(9, np.nan, "<f4").tobytes(), FLOAT, bits=32),
    }

    status, content_type, reply = ask(bodies[case])

    assert (status, content_type) == (400, "application/json")
    assert reason in json.loads(reply)["error"]


@pytest.mark.parametrize("length", [1024, 1025, 1279, 1280, 1281, 7777, 132_300])
def test_the_numbers_equal_those_of_scipy(spectrogram: Any, guitar: bytes, length: int) -> None:
    rate, samples = spectrogram.read_wav(guitar)
    samples = samples[:length]

    frequencies, times, magnitudes = spectrogram.stft(samples, rate)

    reference = scipy.signal.stft(samples, rate, "hann", nperseg=FRAME, noverlap=FRAME - 256)
    np.testing.assert_allclose(frequencies, reference[0])
    np.testing.assert_allclose(times, reference[1])
    np.testing.assert_allclose(magnitudes, np.abs(reference[2]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 255, 256, 257, 1023])
def test_short_sounds_have_a_spectrogram(spectrogram: Any, guitar: bytes, length: int) -> None:
    rate, samples = spectrogram.read_wav(guitar)

    frequencies, times, magnitudes = spectrogram.stft(samples[5000 : 5000 + length], rate)

    assert magnitudes.shape == (len(frequencies), len(times)) == (ROWS, -(-length // 256) + 1)
    assert spectrogram.picture(magnitudes).size == (len(times), ROWS)


def test_the_picture_of_a_long_sound_has_a_bounded_width_and_keeps_a_click(
    spectrogram: Any,
) -> None:
    samples = np.zeros(60 * 44_100)
    samples[1_000_000] = 1

    image = spectrogram.picture(spectrogram.stft(samples, 44_100)[2])

    assert image.width <= 1200
    assert is_not_blank(image)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("code", "bits"), [(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)]
)
def test_every_supported_wav_format_is_read_as_scipy_reads_it(
    spectrogram: Any, code: int, bits: int, channels: int, *, extensible: bool
) -> None:
    noise = np.random.default_rng(seed=bits)
    values = noise.uniform(-1, 1, 600) if code == FLOAT else noise.integers(0, 256, 600 * bits // 8)
    data = values.astype(f"<f{bits // 8}" if code == FLOAT else np.uint8).tobytes()
    outer = EXTENSIBLE if extensible else code
    body = wav(data, outer, channels=channels, bits=bits, inner=code)

    rate, samples = spectrogram.read_wav(body)

    reference_rate, reference = scipy.io.wavfile.read(io.BytesIO(body))
    whole = np.asarray(reference, dtype=np.float64)
    if code == PCM:
        # SciPy returns 24 bits in the upper part of 32.
        whole = (whole - 128) / 128 if bits == 8 else whole / 2 ** (31 if bits > 16 else 15)
    assert rate == reference_rate
    np.testing.assert_allclose(samples, whole.reshape(-1, channels).mean(axis=1), atol=1e-12)


def test_the_rest_of_a_truncated_wav_file_is_read(spectrogram: Any) -> None:
    data = np.arange(1, 301, dtype="<i2").tobytes()

    _, samples = spectrogram.read_wav(wav(data, channels=2)[:-3])

    np.testing.assert_allclose(samples * 32768, np.arange(1.5, 298, 2))


def test_a_size_of_a_recorder_that_writes_to_a_pipe_is_accepted(spectrogram: Any) -> None:
    body = bytearray(wav(bytes(200)))
    body[40:44] = b"\xff\xff\xff\xff"

    assert len(spectrogram.read_wav(bytes(body))[1]) == 100


def test_other_chunks_are_skipped(spectrogram: Any) -> None:
    body = wav(bytes(200))
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"

    assert len(spectrogram.read_wav(body[:12] + odd + body[12:])[1]) == 100


def wav(data: bytes, code: int = PCM, channels: int = 1, bits: int = 16, inner: int = PCM) -> bytes:
    """Return a WAV file with any header, valid or invalid."""
    block = channels * bits // 8
    header = struct.pack("<HHIIHH", code, channels, RATE, RATE * block, block, bits)
    if code == EXTENSIBLE:
        guid = struct.pack("<H", inner) + bytes.fromhex("000000001000800000aa00389b71")
        header += struct.pack("<HHI", 22, bits, 0) + guid
    chunks = b"fmt " + struct.pack("<I", len(header)) + header
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def decoded(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png), formats=["PNG"])
    image.load()
    return image


def is_not_blank(image: Image.Image) -> bool:
    lowest, highest = image.convert("L").getextrema()
    return bool(lowest != highest)
