"""Sends a sound as fast as it is heard, and shows what comes back: spectrum, level and pitch.

    python client.py sounds/speech.wav
    python client.py --microphone

Needs dcframework alone for a file. For the microphone: pip install sounddevice
"""

import argparse
import json
import struct
import time
from math import log2
from pathlib import Path

import dcf

CHUNK = 2048  # bytes: 64 ms of a voice at 16 kHz
RATE = 16_000  # Hz, of the microphone
BARS = " ▁▂▃▄▅▆▇█"
SOFTEST = -80  # dB that has no bar any more
NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def recorded(path, in_real_time):
    """Chunks of a WAV file."""
    data = Path(path).read_bytes()
    (bytes_in_a_second,) = struct.unpack_from("<I", data, 28)
    for place in range(0, len(data), CHUNK):
        yield data[place : place + CHUNK]
        if in_real_time:
            time.sleep(CHUNK / bytes_in_a_second)


def heard():
    """A WAV file without an end: what the microphone hears."""
    import sounddevice

    endless = 0xFFFFFFFF
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)  # PCM, one channel, 16 bits
    yield b"RIFF" + struct.pack("<I", endless) + b"WAVEfmt " + form
    yield b"data" + struct.pack("<I", endless)
    with sounddevice.RawInputStream(RATE, CHUNK // 2, channels=1, dtype="int16") as microphone:
        while True:
            yield bytes(microphone.read(CHUNK // 2)[0])


def line(column):
    """A column as a line of text."""
    last = len(BARS) - 1
    levels = (round((1 - band / SOFTEST) * last) for band in column["bands"])
    bars = "".join(BARS[min(max(level, 0), last)] for level in levels)
    pitch = ""
    if column["pitch"]:
        # MIDI counts half tones, 69 is the A of 440 Hz.
        note = round(69 + 12 * log2(column["pitch"] / 440))
        pitch = f"{column['pitch']:6.1f} Hz  {NOTES[note % 12]}{note // 12 - 1}"
    return f"{column['time']:7.2f} s  {bars}  {column['level']:4} dB  {pitch}".rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", help="a WAV file")
    parser.add_argument("--microphone", action="store_true")
    parser.add_argument("--fast", action="store_true", help="send as fast as it goes")
    parser.add_argument("-g", "--gateway", metavar="HOST:PORT")
    given = parser.parse_args()
    if given.microphone == bool(given.file):
        parser.error("a file or --microphone is wanted")

    chunks = heard() if given.microphone else recorded(given.file, not given.fast)
    with dcf.Client(given.gateway) as client, client.stream("listen", chunks) as columns:
        for column in columns:
            print(line(json.loads(column)), flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print()
