"""A gateway with TLS."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import dcf
from dcf.errors import GatewayUnreachable
from e2e.gateway_process import GatewayProcess, running
from process.stub import Stub

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")

ECHO = """
class Handler:
    def __call__(self, req):
        return req.input
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a self-signed certificate for this machine, with its key in the same folder."""
    folder = tmp_path_factory.mktemp("certificate")
    made = folder / "chain.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:prime256v1", "-days", "1", "-subj", "/CN=localhost", "-addext",
               "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(folder / "key.pem"),
               "-out", str(made)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, certificate: Path
) -> Iterator[GatewayProcess]:
    options = ("--cert", str(certificate), "--key", str(certificate.with_name("key.pem")))
    folder = tmp_path_factory.mktemp("gateway")
    with running(folder, *options, trust=certificate, shared=True) as gateway:
        gateway.deploy(gateway.write("echo", ECHO))
        yield gateway


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_calls_and_negotiates_a_version(
    gateway: GatewayProcess, certificate: Path, option: str, version: str
) -> None:
    command = ["curl", "--silent", "--show-error", "--cacert", str(certificate), option, "--data", "hi",
               "--write-out", " %{http_version}", f"{gateway.url}/function/echo"]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout == f"hi {version}", result.stderr


def test_a_grpc_client_with_the_certificate_calls(
    gateway: GatewayProcess, certificate: Path
) -> None:
    trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{gateway.port}", trusted) as channel:
        stub = Stub(channel)
        assert stub("Invoke", Service="echo", Input=b"hi").Msg == "hi"
        assert [function.Name for function in stub("List").Functions] == ["echo"]


def test_the_command_line_calls_lists_and_deploys(gateway: GatewayProcess) -> None:
    result = gateway.dcf("function", "call", "echo", input=b"hi")
    assert (result.returncode, result.stdout) == (0, b"hi"), result.stderr
    assert b"echo" in gateway.dcf("function", "list").stdout
    assert gateway.dcf("gateway", "status").returncode == 0


def test_a_client_trusts_the_certificates_of_the_system(
    gateway: GatewayProcess, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dcf.Client(gateway.url) as client, pytest.raises(GatewayUnreachable, match="certificate"):
        client.call("echo", b"hi")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with dcf.Client(gateway.url) as client:
        assert client.call("echo", b"hi") == b"hi"
        assert client.call("echo", bytes(3_000_000)) == bytes(3_000_000)


def test_a_client_without_tls_gets_nothing(gateway: GatewayProcess) -> None:
    plain = gateway.url.replace("https", "http")
    with dcf.Client(plain) as client, pytest.raises(GatewayUnreachable):
        client.functions()


def test_streams_send_and_receive_at_the_same_time(
    gateway: GatewayProcess, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> list[bytes]:
        async with dcf.AsyncClient(gateway.url) as client:
            return [reply async for reply in client.stream("echo", messages)]

    messages = [*(b"%d" % number for number in range(300)), bytes(3_000_000), b"x" * 3_000_000]
    with dcf.Client(gateway.url) as client, pytest.raises(GatewayUnreachable, match="certificate"):
        client.stream("echo", messages)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with dcf.Client(gateway.url) as client:
        assert list(client.stream("echo", messages)) == messages
        assert list(client.stream("echo", iter(messages))) == messages
        for reply in client.stream("echo", itertools.repeat(b"a")):
            assert reply == b"a"
            break
    assert asyncio.run(ask()) == messages
