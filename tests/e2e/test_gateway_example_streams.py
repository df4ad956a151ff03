"""The examples of streams, deployed and called in every way that there is."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

import dcf
from e2e.gateway_process import PATIENCE, GatewayProcess
from e2e.test_example_audio import cut
from e2e.test_example_text import MAIL, REDACTED
from e2e.test_example_video import assert_annotated, frames_of
from process.stub import connected

FOLDERS = {
    "redact": "04-streaming-text",
    "detect-video": "05-streaming-video",
    "listen": "06-streaming-audio",
}

Stream = Callable[[GatewayProcess, str, Sequence[bytes]], list[bytes]]


@pytest.fixture(scope="module")
def house(example_house: GatewayProcess, examples: Path) -> GatewayProcess:
    for folder in FOLDERS.values():
        example_house.deploy(examples / folder)
    return example_house


@pytest.fixture(scope="module")
def frames(examples: Path) -> list[bytes]:
    return frames_of((examples / FOLDERS["detect-video"] / "video" / "dog.mjpeg").read_bytes())


@pytest.fixture(scope="module")
def speech(examples: Path) -> bytes:
    return (examples / FOLDERS["listen"] / "sounds" / "speech.wav").read_bytes()


@pytest.fixture(scope="module")
def columns(author: Callable[[Path, str], Any], examples: Path, speech: bytes) -> list[Any]:
    """What the handler makes of the speech, called by hand."""
    handler = author(examples / FOLDERS["listen"], "handler").Handler()

    async def listen() -> list[Any]:
        return [column async for column in handler(dcf.Request(stream=[speech]))]

    return asyncio.run(listen())


# Ways


def by_client(house: GatewayProcess, name: str, messages: Sequence[bytes]) -> list[bytes]:
    with dcf.Client(house.url) as client, client.stream(name, messages) as replies:
        return list(replies)


def by_async_client(house: GatewayProcess, name: str, messages: Sequence[bytes]) -> list[bytes]:
    async def stream() -> list[bytes]:
        async with dcf.AsyncClient(house.url) as client:
            return [reply async for reply in client.stream(name, messages)]

    return asyncio.run(stream())


def by_grpc(house: GatewayProcess, name: str, messages: Sequence[bytes]) -> list[bytes]:
    with connected(house.port) as stub, stub.talk() as talk:
        talk.send(name, *messages)
        talk.end()
        return talk.rest()


WAYS = [
    pytest.param(by_client, id="Client"),
    pytest.param(by_async_client, id="AsyncClient"),
    pytest.param(by_grpc, id="gRPC"),
]


@pytest.mark.parametrize("stream", WAYS)
def test_lines_of_text(house: GatewayProcess, stream: Stream) -> None:
    replies = stream(house, "redact", [line.encode() for line in MAIL])

    assert replies == [line.encode() for line in REDACTED]


@pytest.mark.parametrize("stream", WAYS)
def test_frames_of_a_video(house: GatewayProcess, frames: list[bytes], stream: Stream) -> None:
    replies = stream(house, "detect-video", frames[:5])

    assert len(replies) == 5
    for reply in replies:
        assert_annotated(reply)


@pytest.mark.parametrize("stream", WAYS)
def test_chunks_of_a_sound(
    house: GatewayProcess, speech: bytes, columns: list[Any], stream: Stream
) -> None:
    replies = stream(house, "listen", cut(speech, 1999))

    assert [json.loads(reply) for reply in replies] == columns


def test_a_line_comes_back_before_the_next_one_is_sent(house: GatewayProcess) -> None:
    replies: list[bytes] = []

    def lines() -> Iterator[str]:
        for number, line in enumerate(MAIL):
            assert len(replies) == number
            yield line
            house.until(lambda: len(replies) > number)  # noqa: B023  it is asked at once

    with dcf.Client(house.url) as client, client.stream("redact", lines()) as stream:
        replies.extend(stream)
    assert replies == [line.encode() for line in REDACTED]


def test_as_a_browser_does_it(house: GatewayProcess, frames: list[bytes]) -> None:
    url = f"ws://127.0.0.1:{house.port}/function"
    with connect(f"{url}/redact", compression=None) as text:
        text.send(MAIL[0])
        assert text.recv(PATIENCE) == REDACTED[0]
    with connect(f"{url}/detect-video", compression=None) as video:
        video.send(frames[0])
        reply = video.recv(PATIENCE)
    assert isinstance(reply, bytes)
    assert_annotated(reply)


def test_streams_at_the_same_time_know_nothing_of_each_other(house: GatewayProcess) -> None:
    url = f"ws://127.0.0.1:{house.port}/function/redact"
    with connect(url, compression=None) as one, connect(url, compression=None) as other:
        for websocket, name in ((one, "ada"), (other, "bob"), (one, "bob"), (other, "ada")):
            websocket.send(f"{name}@example.com")
        assert [one.recv(PATIENCE) for _ in "12"] == ["[email 1]", "[email 2]"]
        assert [other.recv(PATIENCE) for _ in "12"] == ["[email 1]", "[email 2]"]


# HTTP, as curl has it

LINES = "application/x-ndjson"
EVENTS = "text/event-stream"


def uploaded(house: GatewayProcess, name: str, parts: Iterable[bytes], **headers: str) -> bytes:
    """A body in chunks, each sent at once."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("POST", f"/function/{name}", parts, given, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 200
        return response.read()


def test_lines_of_text_over_http(house: GatewayProcess) -> None:
    body = "".join(f"{line}\n" for line in MAIL).encode()
    # Cut where no line ends.
    parts = cut(body, 20)

    lines = uploaded(house, "redact", parts, content_type=LINES, accept=LINES)
    assert [json.loads(line) for line in lines.splitlines()] == [*REDACTED]
    events = uploaded(house, "redact", parts, content_type=LINES, accept=EVENTS).decode()
    told = "".join(f"data: {line}\n\n" for line in REDACTED)
    assert events == f"{told}event: end\ndata:\n\n"


def test_a_sound_over_http(house: GatewayProcess, speech: bytes, columns: list[Any]) -> None:
    lines = uploaded(house, "listen", cut(speech, 3001), accept=LINES)
    assert [json.loads(line) for line in lines.splitlines()] == columns
    # Whole, as a plain call.
    assert [json.loads(line) for line in house.call("listen", speech)[1].splitlines()] == columns


# The command line


def test_lines_by_the_command_line(house: GatewayProcess) -> None:
    given = "".join(f"{line}\n" for line in MAIL)
    done = house.dcf("function", "call", "redact", "--stream", input=given.encode())

    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == [*REDACTED]


def test_frames_by_the_command_line(
    house: GatewayProcess, frames: list[bytes], tmp_path: Path
) -> None:
    out = tmp_path / "boxes.mjpeg"
    asked = ("--stream", "--frames", "jpg", "--reply", out)
    done = house.dcf("function", "call", "detect-video", *asked, input=b"".join(frames[:3]))

    assert done.returncode == 0, done.stderr
    replies = frames_of(out.read_bytes())
    assert len(replies) == 3
    for reply in replies:
        assert_annotated(reply)


def test_a_sound_by_the_command_line(
    house: GatewayProcess, speech: bytes, columns: list[Any]
) -> None:
    asked = ("--stream", "--frames", "raw:2048")
    done = house.dcf("function", "call", "listen", *asked, input=speech)

    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(b"}{", b"}\n{").splitlines() == [
        json.dumps(column).encode() for column in columns
    ]


# What goes wrong


def test_a_frame_that_is_none_is_answered_with_the_error_and_the_stream_goes_on(
    house: GatewayProcess, frames: list[bytes]
) -> None:
    errors: list[Exception] = []
    sent = [frames[0], b"no frame", frames[1], frames[2][:5000], frames[3]]
    with dcf.Client(house.url) as client:
        replies = list(client.stream("detect-video", sent, on_error=errors.append))

    assert len(replies) == 3
    for reply in replies:
        assert_annotated(reply)
    assert [type(error).__name__ for error in errors] == ["BadRequest", "BadRequest"]
    assert "a JPEG is wanted" in str(errors[0])
    assert "the JPEG is damaged" in str(errors[1])


def test_a_frame_that_is_none_over_grpc(house: GatewayProcess, frames: list[bytes]) -> None:
    first, wrong, last = by_grpc(house, "detect-video", [frames[0], b"no frame", frames[1]])

    assert_annotated(first)
    assert "a JPEG is wanted" in json.loads(wrong)["detail"]
    assert_annotated(last)


@pytest.mark.parametrize("sound", [[b"RIFF", b"no sound at all"], []])
def test_what_is_no_sound_ends_the_stream(house: GatewayProcess, sound: list[bytes]) -> None:
    with dcf.Client(house.url) as client, pytest.raises(dcf.BadRequest, match="WAV"):
        list(client.stream("listen", sound))


# The clients of the examples


@pytest.mark.parametrize(
    "client",
    [
        ("client.py", "--video", "video/dog.mjpeg", "--out"),
        ("client_grpc.py", "video/dog.mjpeg"),
    ],
    ids=lambda command: command[0],
)
def test_the_video_clients(
    house: GatewayProcess, examples: Path, tmp_path: Path, client: tuple[str, ...]
) -> None:
    out = tmp_path / "boxes.mjpeg"
    done = ran(house, examples / FOLDERS["detect-video"], *client, str(out))

    replies = frames_of(out.read_bytes())
    assert len(replies) == 27
    for reply in replies:
        assert_annotated(reply)
    assert done.startswith("27 frames in ")
    assert "latency p50" in done


def test_the_audio_client(house: GatewayProcess, examples: Path, columns: list[Any]) -> None:
    folder = examples / FOLDERS["listen"]
    lines = ran(house, folder, "client.py", "sounds/speech.wav", "--fast").splitlines()

    assert len(lines) == len(columns)
    for line, column in zip(lines, columns, strict=True):
        assert line.startswith(f"{column['time']:7.2f} s  ")
        assert f"{column['level']:4} dB" in line
        assert ("Hz" in line) == (column["pitch"] is not None)


def ran(house: GatewayProcess, folder: Path, *command: str) -> str:
    """What a program in an example's folder prints."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**house.env, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
