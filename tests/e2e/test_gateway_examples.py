"""The examples, deployed and called by every client."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dcf
from e2e.gateway_process import GatewayProcess
from e2e.test_example_ssd import EXPECTED, assert_found
from e2e.test_example_stft import ROWS, decoded, is_not_blank

FOLDERS = {"hello-dcf": "01-hello-dcf", "ssd": "02-object-detection-ssd", "stft": "03-stft"}
PHOTO = "coffee.png"

Call = Callable[[GatewayProcess, str, bytes], bytes]


@pytest.fixture(scope="module")
def gateway(example_gateway: GatewayProcess, examples: Path) -> GatewayProcess:
    for folder in FOLDERS.values():
        example_gateway.deploy(examples / folder)
    return example_gateway


@pytest.fixture(scope="module")
def inputs(examples: Path) -> dict[str, bytes]:
    return {
        "hello-dcf": b"Hello\n",
        "ssd": (examples / FOLDERS["ssd"] / "pictures" / PHOTO).read_bytes(),
        "stft": (examples / FOLDERS["stft"] / "sounds" / "guitar.wav").read_bytes(),
    }


def by_curl(*options: str) -> Call:
    def call(gateway: GatewayProcess, name: str, body: bytes) -> bytes:
        command = ["curl", "--silent", "--show-error", "--fail", *options, "--data-binary", "@-"]
        url = f"{gateway.url}/function/{name}"
        result = subprocess.run([*command, url], input=body, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return call


def by_cli(gateway: GatewayProcess, name: str, body: bytes) -> bytes:
    result = gateway.dcf("function", "call", name, input=body)
    assert result.returncode == 0, result.stderr
    return result.stdout


def by_client(gateway: GatewayProcess, name: str, body: bytes) -> bytes:
    with dcf.Client(gateway.url) as client:
        return client.call(name, body)


def by_async_client(gateway: GatewayProcess, name: str, body: bytes) -> bytes:
    async def call() -> bytes:
        async with dcf.AsyncClient(gateway.url) as client:
            return await client.call(name, body)

    return asyncio.run(call())


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(by_curl("--http1.1"), id="curl", marks=needs_curl),
        pytest.param(by_curl("--http2-prior-knowledge"), id="curl HTTP/2", marks=needs_curl),
        pytest.param(by_cli, id="dcf-cli"),
        pytest.param(by_client, id="Client"),
        pytest.param(by_async_client, id="AsyncClient"),
    ],
)
@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_answers_as_its_readme_shows(
    gateway: GatewayProcess, inputs: dict[str, bytes], name: str, call: Call
) -> None:
    reply = call(gateway, name, inputs[name])

    if name == "hello-dcf":
        assert reply == b"Hello DCF"
    elif name == "ssd":
        assert_found(json.loads(reply), EXPECTED[PHOTO])
    else:
        image = decoded(base64.b64decode(reply, validate=True))
        assert image.size == (518, ROWS)
        assert is_not_blank(image)


def test_the_accept_header_reaches_the_handler(
    gateway: GatewayProcess, inputs: dict[str, bytes], examples: Path, tmp_path: Path
) -> None:
    reply = tmp_path / "spectrogram.png"
    accept = ("--header", "Accept: image/png")
    result = gateway.dcf(
        "function", "call", "stft", *accept, "--reply", reply, input=inputs["stft"]
    )

    assert (result.returncode, result.stdout) == (0, b"")
    shown = (examples / FOLDERS["stft"] / "spectrogram.png").read_bytes()
    assert np.array_equal(pixels(reply.read_bytes()), pixels(shown))


def test_an_error_reply_of_a_handler_ends_the_command_with_exit_code_9(
    gateway: GatewayProcess,
) -> None:
    result = gateway.dcf("function", "call", "ssd", input=b"no picture")

    assert result.returncode == 9
    assert "expected a picture" in json.loads(result.stdout)["error"]


def pixels(png: bytes) -> Any:
    return np.asarray(decoded(png))
