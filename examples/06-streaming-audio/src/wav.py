"""A WAV file read while it comes, in chunks that may be cut anywhere.

Only the kind that microphones make, PCM of 16 bits; ../03-stft reads the others.
"""

import struct

import numpy as np

MAX_HEADER = 64_000  # bytes before the samples; a file may have its title and a picture there
PCM, BITS = 1, 16
MIN_RATE, MAX_RATE = 4000, 192_000  # Hz


class BadSound(ValueError):
    """What was sent cannot be used as a sound; the message says why."""


class WavReader:
    """Samples from the chunks of a WAV file.

    Attributes:
        rate: Samples in a second; 0 until the header is there.
    """

    def __init__(self):
        self.rate = 0
        self._format = ()  # channels, and samples in a second
        self._left = b""  # what came and is not used yet
        self._size = 0  # bytes of samples that are still to come

    def feed(self, chunk):
        """The samples that are whole with this chunk: float64 from -1 to 1, channels mixed.

        Raises:
            BadSound: When this is no WAV file, or one of another kind.
        """
        self._left += chunk
        if not self.rate and not self._read_header():
            return np.empty(0)
        # What follows the samples in a file, such as its title, is no sound.
        self._left = self._left[: self._size]
        channels = self._format[0]
        whole = len(self._left) // (2 * channels) * 2 * channels
        data, self._left = self._left[:whole], self._left[whole:]
        self._size -= whole
        return np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1) / 32768

    def end(self):
        """Says that nothing more comes.

        Raises:
            BadSound: When there was no header.
        """
        if not self.rate:
            raise BadSound("the stream ended before the samples of a WAV file began")

    def _read_header(self):
        """Whether it is all there; reads it, and takes it away, when it is."""
        data = self._left
        if not b"RIFF".startswith(data[:4]) or not b"WAVE".startswith(data[8:12]):
            raise BadSound("the stream does not begin as a WAV file does")
        place = 12
        while len(data) >= place + 8:
            name, size = struct.unpack_from("<4sI", data, place)
            place += 8
            if name == b"data":
                if not self._format:
                    raise BadSound("the samples come before their format")
                # A recorder cannot know the size beforehand, and writes none or the greatest.
                self._size = size if 0 < size < 0xFFFFFF00 else 1 << 62
                self._left = data[place:]
                self.rate = self._format[1]
                return True
            if name == b"fmt " and len(data) >= place + 16:
                self._format = _read_format(data, place)
            place += size + size % 2  # chunks begin at even places
        if len(data) > MAX_HEADER:
            raise BadSound(f"the first {MAX_HEADER:,} bytes have no samples in them")
        return False


def _read_format(data, place):
    code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, place)
    if (code, bits) != (PCM, BITS) or not channels or not MIN_RATE <= rate <= MAX_RATE:
        raise BadSound(
            f"format {code} with {bits} bits, {channels} channels at {rate} Hz came; wanted is PCM"
            f" (format {PCM}) with {BITS} bits at {MIN_RATE} to {MAX_RATE} Hz"
        )
    return channels, rate
