"""Sends a sound at its own speed, and shows the replies: spectrum, level and pitch.

    python client.py sounds/speech.wav
    python client.py --microphone

A file needs only dcframework. The microphone needs sounddevice: pip install sounddevice
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
SOFTEST = -80  # dB; the level of an empty bar
NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def recorded(path, in_real_time):
    """Yield the chunks of a WAV file."""
    data = Path(path).read_bytes()
    (bytes_per_second,) = struct.unpack_from("<I", data, 28)
    for offset in range(0, len(data), CHUNK):
        yield data[offset : offset + CHUNK]
        if in_real_time:
            time.sleep(CHUNK / bytes_per_second)


def captured():
    """Yield the sound of the microphone as an endless WAV file."""
    import sounddevice

    endless = 0xFFFFFFFF
    header = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)  # PCM, one channel, 16 bits
    yield b"RIFF" + struct.pack("<I", endless) + b"WAVEfmt " + header
    yield b"data" + struct.pack("<I", endless)
    with sounddevice.RawInputStream(RATE, CHUNK // 2, channels=1, dtype="int16") as microphone:
        while True:
            yield bytes(microphone.read(CHUNK // 2)[0])


def line(column):
    """Format a column as a line of text."""
    last = len(BARS) - 1
    levels = (round((1 - band / SOFTEST) * last) for band in column["bands"])
    bars = "".join(BARS[min(max(level, 0), last)] for level in levels)
    pitch = ""
    if column["pitch"]:
        # MIDI numbers semitones; 69 is the A of 440 Hz.
        note = round(69 + 12 * log2(column["pitch"] / 440))
        pitch = f"{column['pitch']:6.1f} Hz  {NOTES[note % 12]}{note // 12 - 1}"
    return f"{column['time']:7.2f} s  {bars}  {column['level']:4} dB  {pitch}".rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", help="a WAV file")
    parser.add_argument("--microphone", action="store_true")
    parser.add_argument("--fast", action="store_true", help="send as fast as possible")
    parser.add_argument("-g", "--gateway", metavar="HOST:PORT")
    options = parser.parse_args()
    if options.microphone == bool(options.file):
        parser.error("expected either a file or --microphone")

    chunks = captured() if options.microphone else recorded(options.file, not options.fast)
    with dcf.Client(options.gateway) as client, client.stream("listen", chunks) as columns:
        for column in columns:
            print(line(json.loads(column)), flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print()
