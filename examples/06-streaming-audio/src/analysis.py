"""Level, pitch and spectrum of a sound that is still being heard."""

import numpy as np

COLUMNS = 20  # in a second
WINDOW = 0.064  # seconds that one column looks at: four periods of the lowest pitch
PITCHES = 62.5, 1000  # Hz, of voices and most instruments
CLEAR = 0.7  # how much of the sound must repeat itself to have a pitch; 1 is all of it
BANDS = 40
LOWEST, HIGHEST = 60, 7600  # Hz, of the bands together
SILENCE = -96  # dB; softer than one step of 16 bits


class Analyser:
    """Columns from samples.

    Columns overlap, and each is made as soon as its last sample is there; what the next ones need
    is kept. So it makes no difference to the columns how the samples came.
    """

    def __init__(self, rate):
        """Prepares for a sound with ``rate`` samples in a second."""
        self._rate = rate
        self._hop = rate // COLUMNS
        self._size = int(rate * WINDOW)
        self._window = np.hanning(self._size + 1)[:-1]  # periodic, as the FFT wants it
        highest = min(HIGHEST, rate / 2)
        edges = np.geomspace(LOWEST, highest, BANDS + 1) * self._size / rate
        self._bands = edges.astype(int)
        self._kept = np.empty(0)
        self._count = 0

    def feed(self, samples):
        """Yields the columns that are whole with these samples."""
        self._kept = np.concatenate([self._kept, samples])
        while len(self._kept) >= self._size:
            yield self._column(self._kept[: self._size])
            self._kept = self._kept[self._hop :]

    def end(self):
        """Yields the last column, with silence behind the sound, if there are samples left."""
        seen = self._size - self._hop if self._count else 0
        if len(self._kept) > seen:
            yield self._column(np.pad(self._kept, (0, self._size - len(self._kept))))

    def _column(self, samples):
        time = self._count * self._hop / self._rate
        self._count += 1
        pitch = _pitch(samples, self._rate)
        return {
            "time": round(time, 3),  # s, of its first sample
            "level": _decibel(2 * np.mean(samples**2)),  # 0 is the loudest sine there can be
            "pitch": pitch and round(pitch, 1),  # Hz; null where there is none
            "bands": self._spectrum(samples),  # as level, for each band
        }

    def _spectrum(self, samples):
        power = np.abs(np.fft.rfft(samples * self._window)) ** 2
        # Where a band is narrower than a step of the FFT, this takes the nearest one below.
        bands = np.add.reduceat(power, self._bands)[:BANDS]
        whole = self._size * np.sum(self._window**2) / 4  # what a sine of amplitude 1 has
        return [_decibel(band / whole) for band in bands]


def _decibel(power):
    return round(max(10 * np.log10(max(power, 1e-12)), SILENCE))


def _pitch(samples, rate):
    """The frequency in Hz with which the sound repeats itself; None when it does not.

    By the normalised autocorrelation of P. McLeod and G. Wyvill, "A smarter way to find pitch"
    (2005).
    """
    size = len(samples)
    spectrum = np.fft.rfft(samples, 2 * size)  # padded: else the end would meet the beginning
    product = np.fft.irfft(np.abs(spectrum) ** 2)[:size]
    squares = np.concatenate([[0], np.cumsum(samples**2)])
    # For each lag, the energy of both parts that are compared.
    energy = squares[size:0:-1] + squares[size] - squares[:size]
    shortest, longest = int(rate / PITCHES[1]), int(rate / PITCHES[0])
    alike = 2 * product[: longest + 2] / np.maximum(energy[: longest + 2], 1e-9)
    middle = alike[1:-1]
    peaks = 1 + np.flatnonzero((middle > alike[:-2]) & (middle >= alike[2:]))
    peaks = peaks[(peaks >= shortest) & (alike[peaks] > CLEAR)]
    if not len(peaks):
        return None
    # The first of the high ones: the others are its multiples, tones an octave and more below.
    lag = peaks[alike[peaks] > 0.9 * alike[peaks].max()][0]
    # The peak lies between samples: that of the parabola through three of them.
    before, at, after = alike[lag - 1 : lag + 2]
    return float(rate / (lag + (before - after) / (2 * (before - 2 * at + after))))
