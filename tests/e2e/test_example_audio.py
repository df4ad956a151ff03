"""examples/06-streaming-audio: the columns do not depend on how the sound is split."""

from __future__ import annotations

import asyncio
import io
import struct
import wave
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcf import Request
from dcf.builder.bundle import find_files
from dcf.errors import BadRequest

Listen = Callable[[Iterable[bytes]], list[dict[str, Any]]]

RATE = 16_000
BANDS = 40


@pytest.fixture(scope="session")
def folder(examples: Path) -> Path:
    return examples / "06-streaming-audio"


@pytest.fixture(scope="session")
def speech(folder: Path) -> bytes:
    return (folder / "sounds" / "speech.wav").read_bytes()


@pytest.fixture(scope="module")
def listen(author: Callable[[Path, str], Any], folder: Path) -> Listen:
    handler = author(folder, "handler").Handler()

    def listen(chunks: Iterable[bytes]) -> list[dict[str, Any]]:
        async def columns() -> list[dict[str, Any]]:
            return [column async for column in handler(Request(stream=chunks))]

        return asyncio.run(columns())

    return listen


@pytest.mark.parametrize("size", [1, 7, 641, 2048, 20_000])
def test_the_columns_do_not_depend_on_how_the_sound_is_split(
    listen: Listen, speech: bytes, size: int
) -> None:
    sound = speech[: 44 + 2 * RATE // (4 if size == 1 else 1)]

    assert listen(cut(sound, size)) == listen([sound])


def test_a_column_is_sent_as_soon_as_its_last_sample_arrives(author: Any, folder: Path) -> None:
    taken: list[int] = []
    sound = recorded(sine(440, seconds=1))

    def chunks() -> Iterator[bytes]:
        for chunk in cut(sound, 2048):
            taken.append(len(chunk))
            yield chunk

    async def first() -> Any:
        columns = author(folder, "handler").Handler()(Request(stream=chunks()))
        column = await anext(columns)
        await columns.aclose()
        return column

    assert asyncio.run(first())["time"] == 0
    assert sum(taken) <= 44 + 2 * 1024 + 2048  # the header, a window and one chunk


def test_a_voice_has_a_pitch_in_its_vowels(listen: Listen, speech: bytes) -> None:
    columns = listen([speech])

    assert [column["time"] for column in columns] == pytest.approx(np.arange(32) / 20, abs=1e-3)
    assert {len(column["bands"]) for column in columns} == {BANDS}
    voiced = [column["pitch"] for column in columns if column["level"] > -20 and column["pitch"]]
    assert len(voiced) >= 5
    assert 95 < np.median(voiced) < 130  # the range of a male voice


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("pitch", [65, 220, 440, 1000])
def test_a_tone_has_its_pitch_and_level(listen: Listen, pitch: int, rate: int) -> None:
    tone = sine(pitch, rate=rate) + 0.4 * sine(2 * pitch, rate=rate)
    (*columns, _) = listen([recorded(0.5 * tone, rate=rate)])

    assert [column["pitch"] for column in columns] == pytest.approx(
        [pitch] * len(columns), rel=1e-3
    )
    assert {column["level"] for column in columns} <= {-6, -5}
    loudest = np.argmax(columns[0]["bands"])
    edges = np.geomspace(60, min(7600, rate / 2), BANDS + 1)
    assert edges[loudest] / 1.2 < pitch < edges[loudest + 1] * 1.2


def test_silence_and_noise_have_no_pitch(listen: Listen) -> None:
    noise = 0.1 * np.random.default_rng(1).normal(size=RATE // 2)

    assert {column["pitch"] for column in listen([recorded(noise)])} == {None}
    silent = listen([recorded(np.zeros(RATE // 2))])
    assert {column["pitch"] for column in silent} == {None}
    assert {column["level"] for column in silent} == {-96}
    assert {band for column in silent for band in column["bands"]} == {-96}


@pytest.mark.parametrize(
    ("samples", "columns"), [(0, 0), (1, 1), (1024, 1), (1025, 2), (1824, 2), (1825, 3)]
)
def test_every_sample_is_in_a_column(listen: Listen, samples: int, columns: int) -> None:
    assert len(listen([recorded(np.ones(samples) / 2)])) == columns


def test_channels_are_mixed(listen: Listen) -> None:
    tone = sine(440)

    def both(left: Any, right: Any) -> bytes:
        return recorded(np.stack([left, right], axis=1), channels=2)

    assert listen([both(tone, tone)]) == listen([recorded(tone)])
    assert {column["level"] for column in listen([both(tone, -tone)])} == {-96}


def test_bytes_around_the_samples_are_ignored(listen: Listen) -> None:
    tone = recorded(sine(440))
    title = b"LIST" + struct.pack("<I", 5) + b"title\0"

    assert listen([tone[:36] + title + tone[36:] + title]) == listen([tone])
    # A recorder that does not know the size in advance.
    endless = tone[:40] + struct.pack("<I", 0xFFFFFFFF) + tone[44:]
    assert listen(cut(endless, 1000)) == listen([tone])


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (b"", "got the end of the stream before its samples"),
        (b"RIFF", "got the end of the stream before its samples"),
        (b"hello", "got a stream that does not start as one"),
        (b"RIFF\0\0\0\0AVI ", "got a stream that does not start as one"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "expected the format before the samples"),
        (
            b"RIFF\0\0\0\0WAVE" + b"junk\xff\xff\xff\x00" + bytes(70_000),
            "expected samples within the first 64,000 bytes, got none",
        ),
    ],
)
def test_a_stream_that_is_not_a_wav_file_is_rejected(
    listen: Listen, sound: bytes, reason: str
) -> None:
    for chunks in ([sound], cut(sound, 3)):
        with pytest.raises(BadRequest, match=reason):
            listen(chunks)


@pytest.mark.parametrize("wrong", [{"width": 1}, {"rate": 400}, {"rate": 1_000_000}])
def test_an_unsupported_sample_format_is_rejected(listen: Listen, wrong: Any) -> None:
    with pytest.raises(BadRequest, match="expected PCM"):
        listen([recorded(np.zeros(100), **wrong)])


def test_the_bundle_contains_the_source_and_neither_sounds_nor_clients(folder: Path) -> None:
    assert {file.path for file in find_files(folder)} >= {"src/handler.py", "src/wav.py"}
    assert not any(file.path.startswith(("sounds", "client")) for file in find_files(folder))


def sine(pitch: float, *, seconds: float = 0.3, rate: int = RATE) -> Any:
    return np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)


def recorded(samples: Any, *, rate: int = RATE, channels: int = 1, width: int = 2) -> bytes:
    """Return a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes((samples * 32767).round().astype("<i2").tobytes())
    return file.getvalue()


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]
