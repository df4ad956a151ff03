"""Decodes a WAV file as it arrives, in chunks that may be split anywhere.

It reads only the format that microphones produce, PCM of 16 bits; ../03-stft reads the others.
"""

import struct

import numpy as np

MAX_HEADER = 64_000  # bytes before the samples; a file may have a title and a picture there
PCM, BITS = 1, 16
MIN_RATE, MAX_RATE = 4000, 192_000  # Hz


class BadSound(ValueError):
    """The stream cannot be decoded as a sound; the message gives the reason."""


class WavReader:
    """Decodes the samples from the chunks of a WAV file.

    Attributes:
        rate: Samples per second; 0 until the header has arrived.
    """

    def __init__(self):
        self.rate = 0
        self._format = ()  # channels, and samples per second
        self._left = b""  # received and not yet used
        self._size = 0  # bytes of samples that have not arrived yet

    def feed(self, chunk):
        """Return the samples that this chunk completes, as float64 from -1 to 1, channels mixed.

        Raises:
            BadSound: If the stream is not a WAV file or has another sample format.
        """
        self._left += chunk
        if not self.rate and not self._read_header():
            return np.empty(0)
        # Drop what follows the samples in a file, such as its title.
        self._left = self._left[: self._size]
        channels = self._format[0]
        whole = len(self._left) // (2 * channels) * 2 * channels
        data, self._left = self._left[:whole], self._left[whole:]
        self._size -= whole
        return np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1) / 32768

    def end(self):
        """Mark the end of the stream.

        Raises:
            BadSound: If the stream had no header.
        """
        if not self.rate:
            raise BadSound("expected a WAV file, got the end of the stream before its samples")

    def _read_header(self):
        """Parse and remove the header; return whether it was complete."""
        data = self._left
        if not b"RIFF".startswith(data[:4]) or not b"WAVE".startswith(data[8:12]):
            raise BadSound("expected a WAV file, got a stream that does not start as one")
        offset = 12
        while len(data) >= offset + 8:
            name, size = struct.unpack_from("<4sI", data, offset)
            offset += 8
            if name == b"data":
                if not self._format:
                    raise BadSound("expected the format before the samples, got samples first")
                # A recorder does not know the size in advance, and writes 0 or the maximum.
                self._size = size if 0 < size < 0xFFFFFF00 else 1 << 62
                self._left = data[offset:]
                self.rate = self._format[1]
                return True
            if name == b"fmt " and len(data) >= offset + 16:
                self._format = _read_format(data, offset)
            offset += size + size % 2  # chunks start at even offsets
        if len(data) > MAX_HEADER:
            raise BadSound(f"expected samples within the first {MAX_HEADER:,} bytes, got none")
        return False


def _read_format(data, offset):
    code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, offset)
    if (code, bits) != (PCM, BITS) or not channels or not MIN_RATE <= rate <= MAX_RATE:
        raise BadSound(
            f"expected PCM (format {PCM}) of {BITS} bits at {MIN_RATE} to {MAX_RATE} Hz,"
            f" got format {code} of {bits} bits with {channels} channels at {rate} Hz"
        )
    return channels, rate
