"""From a WAV file to a picture of its frequencies over time.

NumPy does the arithmetic. WAV is read here rather than by a library, because a function should
tell its callers what is wrong with a file, and the common readers fail on half of the odd ones.
"""

import struct

import numpy as np
from PIL import Image, ImageColor

FRAME = 1024  # samples in one transform: 23 ms at 44.1 kHz, rows 43 Hz apart
HOP = FRAME // 4  # samples from one transform to the next
MAX_SAMPLES = 30_000_000  # 11 minutes at 44.1 kHz; this bounds the memory of a call
MAX_WIDTH = 1200  # pixels
RANGE_DB = 80  # what is this much softer than the loudest is black

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # codes of the sample formats in a WAV header
# From soft to loud. Brightness only rises, so that the picture can be read without the colours.
COLOURS = ("#000010", "#32146e", "#8c2d82", "#dc4b6e", "#fa9b64", "#fff5c8")


class BadSound(ValueError):
    """What was sent cannot be used as a sound; the message says why."""


def read_wav(body):
    """Reads a WAV file: PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64.

    Returns:
        The sample rate in Hz, and the samples as float64 from -1 to 1, all channels mixed into one.

    Raises:
        BadSound: When this is no WAV file, or one that holds something else.
    """
    code, channels, rate, width, data = _parse(body)
    # A last sample that is cut off is left out.
    data = data[: len(data) // (width * channels) * width * channels]
    if not data:
        raise BadSound("the file has no samples")
    if len(data) // (width * channels) > MAX_SAMPLES:
        raise BadSound(f"the sound is longer than {MAX_SAMPLES:,} samples")
    samples = _decode(code, width, data).reshape(-1, channels).mean(axis=1)
    # Written this way round it finds NaN too, which is neither greater nor less than anything.
    if not np.all(np.abs(samples) < 1e6):
        raise BadSound("the file has samples that are no sound (infinite or not a number)")
    return rate, samples


def stft(samples, rate, frame=FRAME, hop=HOP):
    """The short-time Fourier transform.

    Frames are centred: the first one on the first sample, with silence added at both ends. So a
    sound may be as short as one sample.

    Returns:
        Frequencies in Hz, times in seconds, and magnitudes (frequencies x times), scaled so that a
        sine of amplitude 1 has 0.5.
    """
    tail = -len(samples) % hop  # makes the frames cover every sample
    padded = np.pad(samples, (frame // 2, frame // 2 + tail))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    window = np.hanning(frame + 1)[:-1]  # without its last zero it is periodic, as the FFT wants it
    # In blocks, because windowed frames take four times the room of the sound.
    blocks = np.array_split(frames, len(frames) // 1000 + 1)
    spectra = [np.abs(np.fft.rfft(block * window)) for block in blocks]
    magnitudes = np.concatenate(spectra).T / window.sum()
    return np.fft.rfftfreq(frame, 1 / rate), np.arange(len(frames)) * hop / rate, magnitudes


def picture(magnitudes):
    """The magnitudes in colours: time to the right, low frequencies at the bottom.

    One pixel for each frequency and time, or for the loudest of several times in a long sound.
    """
    columns = magnitudes.shape[1]
    step = -(-columns // MAX_WIDTH)
    loudest = np.maximum.reduceat(magnitudes, np.arange(0, columns, step), axis=1)
    floor = 10 ** (-RANGE_DB / 20)
    # Silence has no loudest part to compare with: then everything is at the floor.
    relative = loudest / (loudest.max() or 1)
    level = 1 + 20 * np.log10(np.maximum(relative, floor)) / RANGE_DB  # 0 to 1
    image = Image.fromarray((level[::-1] * 255).round().astype(np.uint8))
    image.putpalette(_palette())
    return image


def _palette():
    """256 colours, as the bytes R G B R G B ..."""
    at = np.linspace(0, 255, len(COLOURS))
    rgb = [ImageColor.getrgb(colour) for colour in COLOURS]
    channels = [np.interp(np.arange(256), at, channel) for channel in zip(*rgb, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()


def _parse(body):
    """Format code, channels, rate, bytes in a sample, and the bytes of the samples."""
    if body[:4] != b"RIFF" or body[8:12] != b"WAVE":
        raise BadSound("the body is not a WAV file")
    header, place = None, 12
    while place + 8 <= len(body):
        name, size = struct.unpack_from("<4sI", body, place)
        # A size beyond the end is cut: a recorder that writes into a pipe cannot know it.
        chunk = body[place + 8 : place + 8 + size]
        if name == b"fmt ":
            header = _parse_header(chunk)
        elif name == b"data":
            if header is None:
                raise BadSound("the samples come before their format")
            return *header, chunk
        place += 8 + size + size % 2  # chunks begin at even places
    missing = "samples" if header else "format"
    raise BadSound(f"the file ends before its {missing}")


def _parse_header(chunk):
    if len(chunk) < 16:
        raise BadSound("the file ends within its header")
    code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == EXTENSIBLE and len(chunk) >= 26:
        (code,) = struct.unpack_from("<H", chunk, 24)  # the true one, in a longer header
    width = (bits + 7) // 8
    if (code, width) not in {(PCM, 1), (PCM, 2), (PCM, 3), (PCM, 4), (FLOAT, 4), (FLOAT, 8)}:
        raise BadSound(
            f"samples of format {code} with {bits} bits are not supported;"
            " PCM (format 1) of 8 to 32 bits and floats (format 3) of 32 or 64 are"
        )
    if not channels or not rate or block != channels * width:
        raise BadSound(
            f"the header is wrong: {channels} channels of {bits} bits at {rate} Hz,"
            f" {block} bytes together"
        )
    return code, channels, rate, width


def _decode(code, width, data):
    if code == FLOAT:
        return np.frombuffer(data, f"<f{width}").astype(np.float64)
    if width == 1:  # the only one without a sign: 128 is silence
        return (np.frombuffer(data, np.uint8) - 128.0) / 128
    if width == 3:  # NumPy has no such integer: the upper three bytes of one with four
        whole = np.zeros((len(data) // 3, 4), np.uint8)
        whole[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = whole.tobytes(), 4
    return np.frombuffer(data, f"<i{width}") / 2.0 ** (8 * width - 1)
