"""The streaming examples, deployed and called by every client and protocol."""

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
def gateway(example_gateway: GatewayProcess, examples: Path) -> GatewayProcess:
    for folder in FOLDERS.values():
        example_gateway.deploy(examples / folder)
    return example_gateway


@pytest.fixture(scope="module")
def frames(examples: Path) -> list[bytes]:
    return frames_of((examples / FOLDERS["detect-video"] / "video" / "dog.mjpeg").read_bytes())


@pytest.fixture(scope="module")
def speech(examples: Path) -> bytes:
    return (examples / FOLDERS["listen"] / "sounds" / "speech.wav").read_bytes()


@pytest.fixture(scope="module")
def columns(author: Callable[[Path, str], Any], examples: Path, speech: bytes) -> list[Any]:
    """Call the handler directly with the speech; return its columns."""
    handler = author(examples / FOLDERS["listen"], "handler").Handler()

    async def listen() -> list[Any]:
        return [column async for column in handler(dcf.Request(stream=[speech]))]

    return asyncio.run(listen())


# Clients


def by_client(gateway: GatewayProcess, name: str, messages: Sequence[bytes]) -> list[bytes]:
    with dcf.Client(gateway.url) as client, client.stream(name, messages) as replies:
        return list(replies)


def by_async_client(gateway: GatewayProcess, name: str, messages: Sequence[bytes]) -> list[bytes]:
    async def stream() -> list[bytes]:
        async with dcf.AsyncClient(gateway.url) as client:
            return [reply async for reply in client.stream(name, messages)]

    return asyncio.run(stream())


def by_grpc(gateway: GatewayProcess, name: str, messages: Sequence[bytes]) -> list[bytes]:
    with connected(gateway.port) as stub, stub.talk() as talk:
        talk.send(name, *messages)
        talk.end()
        return talk.rest()


WAYS = [
    pytest.param(by_client, id="Client"),
    pytest.param(by_async_client, id="AsyncClient"),
    pytest.param(by_grpc, id="gRPC"),
]


@pytest.mark.parametrize("stream", WAYS)
def test_lines_of_text_are_redacted(gateway: GatewayProcess, stream: Stream) -> None:
    replies = stream(gateway, "redact", [line.encode() for line in MAIL])

    assert replies == [line.encode() for line in REDACTED]


@pytest.mark.parametrize("stream", WAYS)
def test_frames_of_a_video_are_annotated(
    gateway: GatewayProcess, frames: list[bytes], stream: Stream
) -> None:
    replies = stream(gateway, "detect-video", frames[:5])

    assert len(replies) == 5
    for reply in replies:
        assert_annotated(reply)


@pytest.mark.parametrize("stream", WAYS)
def test_chunks_of_a_sound_give_columns(
    gateway: GatewayProcess, speech: bytes, columns: list[Any], stream: Stream
) -> None:
    replies = stream(gateway, "listen", cut(speech, 1999))

    assert [json.loads(reply) for reply in replies] == columns


def test_a_line_is_answered_before_the_next_line_is_sent(gateway: GatewayProcess) -> None:
    replies: list[bytes] = []

    def lines() -> Iterator[str]:
        for number, line in enumerate(MAIL):
            assert len(replies) == number
            yield line
            gateway.until(lambda: len(replies) > number)  # noqa: B023  evaluated at once

    with dcf.Client(gateway.url) as client, client.stream("redact", lines()) as stream:
        replies.extend(stream)
    assert replies == [line.encode() for line in REDACTED]


def test_a_browser_uses_websockets(gateway: GatewayProcess, frames: list[bytes]) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/function"
    with connect(f"{url}/redact", compression=None) as text:
        text.send(MAIL[0])
        assert text.recv(PATIENCE) == REDACTED[0]
    with connect(f"{url}/detect-video", compression=None) as video:
        video.send(frames[0])
        reply = video.recv(PATIENCE)
    assert isinstance(reply, bytes)
    assert_annotated(reply)


def test_concurrent_streams_are_independent(gateway: GatewayProcess) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/function/redact"
    with connect(url, compression=None) as first, connect(url, compression=None) as second:
        for websocket, name in ((first, "ada"), (second, "bob"), (first, "bob"), (second, "ada")):
            websocket.send(f"{name}@example.com")
        assert [first.recv(PATIENCE) for _ in "12"] == ["[email 1]", "[email 2]"]
        assert [second.recv(PATIENCE) for _ in "12"] == ["[email 1]", "[email 2]"]


# HTTP, as curl sends it

LINES = "application/x-ndjson"
EVENTS = "text/event-stream"


def uploaded(gateway: GatewayProcess, name: str, parts: Iterable[bytes], **headers: str) -> bytes:
    """Send a body in chunks, each at once."""
    sent_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("POST", f"/function/{name}", parts, sent_headers, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 200
        return response.read()


def test_lines_of_text_are_redacted_over_http(gateway: GatewayProcess) -> None:
    body = "".join(f"{line}\n" for line in MAIL).encode()
    # Split within the lines.
    parts = cut(body, 20)

    lines = uploaded(gateway, "redact", parts, content_type=LINES, accept=LINES)
    assert [json.loads(line) for line in lines.splitlines()] == [*REDACTED]
    events = uploaded(gateway, "redact", parts, content_type=LINES, accept=EVENTS).decode()
    expected = "".join(f"data: {line}\n\n" for line in REDACTED)
    assert events == f"{expected}event: end\ndata:\n\n"


def test_a_sound_is_analysed_over_http(
    gateway: GatewayProcess, speech: bytes, columns: list[Any]
) -> None:
    lines = uploaded(gateway, "listen", cut(speech, 3001), accept=LINES)
    assert [json.loads(line) for line in lines.splitlines()] == columns
    # As a single call with the whole file.
    assert [json.loads(line) for line in gateway.call("listen", speech)[1].splitlines()] == columns


# The command line


def test_the_command_line_streams_lines(gateway: GatewayProcess) -> None:
    text = "".join(f"{line}\n" for line in MAIL)
    result = gateway.dcf("function", "call", "redact", "--stream", input=text.encode())

    assert result.returncode == 0, result.stderr
    assert result.stdout.decode().splitlines() == [*REDACTED]


def test_the_command_line_streams_frames(
    gateway: GatewayProcess, frames: list[bytes], tmp_path: Path
) -> None:
    out = tmp_path / "boxes.mjpeg"
    options = ("--stream", "--frames", "jpg", "--reply", out)
    result = gateway.dcf("function", "call", "detect-video", *options, input=b"".join(frames[:3]))

    assert result.returncode == 0, result.stderr
    replies = frames_of(out.read_bytes())
    assert len(replies) == 3
    for reply in replies:
        assert_annotated(reply)


def test_the_command_line_streams_a_sound(
    gateway: GatewayProcess, speech: bytes, columns: list[Any]
) -> None:
    options = ("--stream", "--frames", "raw:2048")
    result = gateway.dcf("function", "call", "listen", *options, input=speech)

    assert result.returncode == 0, result.stderr
    assert result.stdout.replace(b"}{", b"}\n{").splitlines() == [
        json.dumps(column).encode() for column in columns
    ]


# Errors


def test_an_invalid_frame_is_answered_with_an_error_and_the_stream_continues(
    gateway: GatewayProcess, frames: list[bytes]
) -> None:
    errors: list[Exception] = []
    sent = [frames[0], b"no frame", frames[1], frames[2][:5000], frames[3]]
    with dcf.Client(gateway.url) as client:
        replies = list(client.stream("detect-video", sent, on_error=errors.append))

    assert len(replies) == 3
    for reply in replies:
        assert_annotated(reply)
    assert [type(error).__name__ for error in errors] == ["BadRequest", "BadRequest"]
    assert "expected a JPEG, got 8 other bytes" in str(errors[0])
    assert "the JPEG is damaged" in str(errors[1])


def test_an_invalid_frame_is_answered_with_an_error_over_grpc(
    gateway: GatewayProcess, frames: list[bytes]
) -> None:
    first, wrong, last = by_grpc(gateway, "detect-video", [frames[0], b"no frame", frames[1]])

    assert_annotated(first)
    assert "expected a JPEG, got 8 other bytes" in json.loads(wrong)["detail"]
    assert_annotated(last)


@pytest.mark.parametrize("sound", [[b"RIFF", b"no sound at all"], []])
def test_a_stream_that_is_not_a_wav_file_ends_with_an_error(
    gateway: GatewayProcess, sound: list[bytes]
) -> None:
    with dcf.Client(gateway.url) as client, pytest.raises(dcf.BadRequest, match="WAV"):
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
def test_the_video_clients_write_annotated_frames(
    gateway: GatewayProcess, examples: Path, tmp_path: Path, client: tuple[str, ...]
) -> None:
    out = tmp_path / "boxes.mjpeg"
    result = ran(gateway, examples / FOLDERS["detect-video"], *client, str(out))

    replies = frames_of(out.read_bytes())
    assert len(replies) == 27
    for reply in replies:
        assert_annotated(reply)
    assert result.startswith("27 frames in ")
    assert "latency p50" in result


def test_the_audio_client_prints_every_column(
    gateway: GatewayProcess, examples: Path, columns: list[Any]
) -> None:
    folder = examples / FOLDERS["listen"]
    lines = ran(gateway, folder, "client.py", "sounds/speech.wav", "--fast").splitlines()

    assert len(lines) == len(columns)
    for line, column in zip(lines, columns, strict=True):
        assert line.startswith(f"{column['time']:7.2f} s  ")
        assert f"{column['level']:4} dB" in line
        assert ("Hz" in line) == (column["pitch"] is not None)


def ran(gateway: GatewayProcess, folder: Path, *command: str) -> str:
    """Run a program in an example's folder; return its output."""
    result = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**gateway.env, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
