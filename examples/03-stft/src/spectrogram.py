"""Turns a WAV file into a picture of its frequencies over time.

NumPy does the arithmetic. This module has its own WAV parser, because a function should report
what is wrong with a file, and the common libraries fail on many unusual but valid files.
"""

import struct

import numpy as np
from PIL import Image, ImageColor

FRAME = 1024  # samples in one transform: 23 ms at 44.1 kHz, rows 43 Hz apart
HOP = FRAME // 4  # samples between the starts of two transforms
MAX_SAMPLES = 30_000_000  # 11 minutes at 44.1 kHz; bounds the memory of a call
MAX_WIDTH = 1200  # pixels
RANGE_DB = 80  # dB below the loudest at which a pixel is black

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # codes of the sample formats in a WAV header
# From soft to loud. Brightness only increases, so that the picture is readable in greyscale.
COLOURS = ("#000010", "#32146e", "#8c2d82", "#dc4b6e", "#fa9b64", "#fff5c8")


class BadSound(ValueError):
    """The body cannot be decoded as a sound; the message gives the reason."""


def read_wav(body):
    """Decode a WAV file: PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64 bits.

    Returns:
        The sample rate in Hz, and the samples as float64 from -1 to 1, all channels mixed.

    Raises:
        BadSound: If the body is not a WAV file or has another sample format.
    """
    code, channels, rate, width, data = _parse(body)
    # Drop a truncated last sample.
    data = data[: len(data) // (width * channels) * width * channels]
    if not data:
        raise BadSound("expected samples, got a file without any")
    if len(data) // (width * channels) > MAX_SAMPLES:
        raise BadSound(f"expected at most {MAX_SAMPLES:,} samples, got more")
    samples = _decode(code, width, data).reshape(-1, channels).mean(axis=1)
    # `not all(... < limit)` also catches NaN, for which every comparison is false.
    if not np.all(np.abs(samples) < 1e6):
        raise BadSound("expected finite samples, got infinite ones or NaN")
    return rate, samples


def stft(samples, rate, frame=FRAME, hop=HOP):
    """Compute the short-time Fourier transform.

    Frames are centred: the first frame is centred on the first sample, and silence is added at both
    ends. So a sound may be as short as a single sample.

    Returns:
        Frequencies in Hz, times in seconds, and magnitudes (frequencies x times), scaled so that a
        sine of amplitude 1 has 0.5.
    """
    tail = -len(samples) % hop  # extends the frames over every sample
    padded = np.pad(samples, (frame // 2, frame // 2 + tail))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    window = np.hanning(frame + 1)[:-1]  # periodic without the last zero, as the FFT requires
    # In blocks, because windowed frames take four times the memory of the sound.
    blocks = np.array_split(frames, len(frames) // 1000 + 1)
    spectra = [np.abs(np.fft.rfft(block * window)) for block in blocks]
    magnitudes = np.concatenate(spectra).T / window.sum()
    return np.fft.rfftfreq(frame, 1 / rate), np.arange(len(frames)) * hop / rate, magnitudes


def picture(magnitudes):
    """Draw the magnitudes in colours: time to the right, low frequencies at the bottom.

    Each pixel is a frequency and a time. In a long sound, it is the loudest of several times.
    """
    columns = magnitudes.shape[1]
    step = -(-columns // MAX_WIDTH)
    loudest = np.maximum.reduceat(magnitudes, np.arange(0, columns, step), axis=1)
    floor = 10 ** (-RANGE_DB / 20)
    # The maximum of silence is 0: every pixel is then at the floor.
    relative = loudest / (loudest.max() or 1)
    level = 1 + 20 * np.log10(np.maximum(relative, floor)) / RANGE_DB  # 0 to 1
    image = Image.fromarray((level[::-1] * 255).round().astype(np.uint8))
    image.putpalette(_palette())
    return image


def _palette():
    """Return 256 colours as the bytes R G B R G B ..."""
    at = np.linspace(0, 255, len(COLOURS))
    rgb = [ImageColor.getrgb(colour) for colour in COLOURS]
    channels = [np.interp(np.arange(256), at, channel) for channel in zip(*rgb, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()


def _parse(body):
    """Return format code, channels, rate, bytes per sample, and the bytes of the samples."""
    if body[:4] != b"RIFF" or body[8:12] != b"WAVE":
        raise BadSound(f"expected a WAV file, got {len(body):,} other bytes")
    header, offset = None, 12
    while offset + 8 <= len(body):
        name, size = struct.unpack_from("<4sI", body, offset)
        # The size may exceed the file: a recorder that writes into a pipe does not know it.
        chunk = body[offset + 8 : offset + 8 + size]
        if name == b"fmt ":
            header = _parse_header(chunk)
        elif name == b"data":
            if header is None:
                raise BadSound("expected the format before the samples, got samples first")
            return *header, chunk
        offset += 8 + size + size % 2  # chunks start at even offsets
    missing = "samples" if header else "format"
    raise BadSound(f"expected the {missing} of a WAV file, got the end of the file")


def _parse_header(chunk):
    if len(chunk) < 16:
        raise BadSound(f"expected a header of at least 16 bytes, got {len(chunk)}")
    code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == EXTENSIBLE and len(chunk) >= 26:
        (code,) = struct.unpack_from("<H", chunk, 24)  # the actual format, in a longer header
    width = (bits + 7) // 8
    if (code, width) not in {(PCM, 1), (PCM, 2), (PCM, 3), (PCM, 4), (FLOAT, 4), (FLOAT, 8)}:
        raise BadSound(
            "expected PCM (format 1) of 8 to 32 bits or floats (format 3) of 32 or 64 bits,"
            f" got format {code} with {bits} bits"
        )
    if not channels or not rate or block != channels * width:
        raise BadSound(
            f"the header contradicts itself: {channels} channels of {bits} bits at {rate} Hz"
            f" in blocks of {block} bytes"
        )
    return code, channels, rate, width


def _decode(code, width, data):
    if code == FLOAT:
        return np.frombuffer(data, f"<f{width}").astype(np.float64)
    if width == 1:  # the only unsigned format: 128 is silence
        return (np.frombuffer(data, np.uint8) - 128.0) / 128
    if width == 3:  # NumPy has no 24-bit integer: fill the upper three bytes of a 32-bit one
        whole = np.zeros((len(data) // 3, 4), np.uint8)
        whole[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = whole.tobytes(), 4
    return np.frombuffer(data, f"<i{width}") / 2.0 ** (8 * width - 1)
