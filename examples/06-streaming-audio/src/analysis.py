"""Computes the level, pitch and spectrum of a sound as it arrives."""

import numpy as np

COLUMNS = 20  # per second
WINDOW = 0.064  # seconds of sound in a column: four periods of the lowest pitch
PITCHES = 62.5, 1000  # Hz, of voices and most instruments
CLEAR = 0.7  # minimum autocorrelation of a sound with a pitch; 1 is a perfect repetition
BANDS = 40
LOWEST, HIGHEST = 60, 7600  # Hz; the range of all bands
SILENCE = -96  # dB; softer than one step of 16 bits


class Analyser:
    """Turns samples into columns.

    Columns overlap. Each is computed as soon as its last sample has arrived, and the samples that
    the next columns need are kept. So the columns do not depend on how the samples are split.
    """

    def __init__(self, rate):
        """Prepare for a sound with ``rate`` samples per second."""
        self._rate = rate
        self._hop = rate // COLUMNS
        self._size = int(rate * WINDOW)
        self._window = np.hanning(self._size + 1)[:-1]  # periodic, as the FFT requires
        highest = min(HIGHEST, rate / 2)
        edges = np.geomspace(LOWEST, highest, BANDS + 1) * self._size / rate
        self._bands = edges.astype(int)
        self._kept = np.empty(0)
        self._count = 0

    def feed(self, samples):
        """Yield the columns that these samples complete."""
        self._kept = np.concatenate([self._kept, samples])
        while len(self._kept) >= self._size:
            yield self._column(self._kept[: self._size])
            self._kept = self._kept[self._hop :]

    def end(self):
        """Yield the last column, padded with silence, if samples are left."""
        seen = self._size - self._hop if self._count else 0
        if len(self._kept) > seen:
            yield self._column(np.pad(self._kept, (0, self._size - len(self._kept))))

    def _column(self, samples):
        time = self._count * self._hop / self._rate
        self._count += 1
        pitch = _pitch(samples, self._rate)
        return {
            "time": round(time, 3),  # s; of the first sample
            "level": _decibel(2 * np.mean(samples**2)),  # 0 is a sine of amplitude 1
            "pitch": pitch and round(pitch, 1),  # Hz; null without a pitch
            "bands": self._spectrum(samples),  # the level of each band
        }

    def _spectrum(self, samples):
        power = np.abs(np.fft.rfft(samples * self._window)) ** 2
        # If a band is narrower than a step of the FFT, this takes the nearest step below.
        bands = np.add.reduceat(power, self._bands)[:BANDS]
        whole = self._size * np.sum(self._window**2) / 4  # the power of a sine of amplitude 1
        return [_decibel(band / whole) for band in bands]


def _decibel(power):
    return round(max(10 * np.log10(max(power, 1e-12)), SILENCE))


def _pitch(samples, rate):
    """Return the fundamental frequency in Hz, or None if the sound is not periodic.

    The method is the normalised autocorrelation of P. McLeod and G. Wyvill, "A smarter way to find
    pitch" (2005).
    """
    size = len(samples)
    spectrum = np.fft.rfft(samples, 2 * size)  # padded against wrap-around
    product = np.fft.irfft(np.abs(spectrum) ** 2)[:size]
    squares = np.concatenate([[0], np.cumsum(samples**2)])
    # For each lag, the energy of the two parts that are compared.
    energy = squares[size:0:-1] + squares[size] - squares[:size]
    shortest, longest = int(rate / PITCHES[1]), int(rate / PITCHES[0])
    correlation = 2 * product[: longest + 2] / np.maximum(energy[: longest + 2], 1e-9)
    middle = correlation[1:-1]
    peaks = 1 + np.flatnonzero((middle > correlation[:-2]) & (middle >= correlation[2:]))
    peaks = peaks[(peaks >= shortest) & (correlation[peaks] > CLEAR)]
    if not len(peaks):
        return None
    # The first high peak: later ones are its multiples, tones an octave or more below.
    lag = peaks[correlation[peaks] > 0.9 * correlation[peaks].max()][0]
    # The peak lies between samples: interpolate with a parabola through three of them.
    before, at, after = correlation[lag - 1 : lag + 2]
    return float(rate / (lag + (before - after) / (2 * (before - 2 * at + after))))
