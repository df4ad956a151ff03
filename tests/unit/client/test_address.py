"""Where the gateway is, and the token for it."""

import pytest

from dcf.client.address import Address, Credentials, find, parse
from dcf.errors import AccessDenied, GatewayUnreachable


@pytest.mark.parametrize(
    ("text", "address", "authority"),
    [
        ("http://127.0.0.1:32222", Address("http://127.0.0.1:32222", "127.0.0.1", 32222), "127.0.0.1:32222"),
        ("box:80/", Address("http://box:80", "box", 80), "box"),
        ("https://box.example", Address("https://box.example", "box.example", 443, tls=True), "box.example"),
        ("https://box:8443", Address("https://box:8443", "box", 8443, tls=True), "box:8443"),
        ("[::1]:32222", Address("http://[::1]:32222", "::1", 32222), "[::1]:32222"),
        ("[fe80::1%eth0]:5", Address("http://[fe80::1%eth0]:5", "fe80::1%eth0", 5), "[fe80::1%eth0]:5"),
        ("unix:/run/a b.sock", Address("unix:/run/a b.sock", "localhost", 0, socket="/run/a b.sock"), "localhost"),
    ],
)  # fmt: skip
def test_addresses(text, address, authority):
    assert parse(text) == address
    assert parse(text).authority == authority


@pytest.mark.parametrize(
    "text",
    ["ftp://box", "http://", "http://box:0", "http://box:99999", "http://box/path", "a b", "ü:1",
     "http://me@box", "http://box?x", "box:port", "::1"],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(GatewayUnreachable, match="expected the address of a gateway "):
        parse(text)


def test_the_argument_comes_before_the_environment_and_that_before_this_machine():
    env = {"DCF_GATEWAY": "env:1"}
    assert find("arg:1", env).host == "arg"
    assert find(None, env).host == "env"
    assert find(None, {}).url == "http://127.0.0.1:32222"


def _authorization(access):
    return dict(access.headers()).get("authorization")


def test_the_token_is_the_argument_then_the_environment_then_the_gateway_s_file(tmp_path):
    env = {"DCF_STATE_DIR": str(tmp_path), "DCF_TOKEN": "from-env"}
    file = tmp_path / "tokens" / "127.0.0.1:5"
    file.parent.mkdir()
    file.write_text("from-file\n")
    assert _authorization(Credentials(parse("localhost:5"), "given", env)) == "Bearer given"
    assert _authorization(Credentials(parse("localhost:5"), None, env)) == "Bearer from-env"
    del env["DCF_TOKEN"]
    assert _authorization(Credentials(parse("localhost:5"), None, env)) == "Bearer from-file"
    assert _authorization(Credentials(parse("localhost:6"), None, env)) is None
    assert _authorization(Credentials(parse("unix:/x"), None, env)) is None


def test_a_token_that_appears_later_is_found(tmp_path):
    access = Credentials(parse("localhost:5"), None, {"DCF_STATE_DIR": str(tmp_path)})
    assert _authorization(access) is None
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "127.0.0.1:5").write_text("late")
    assert _authorization(access) == "Bearer late"


def test_what_cannot_be_a_token_is_told_and_not_shown(tmp_path):
    with pytest.raises(
        AccessDenied, match="the given token: expected a token of visible ASCII characters"
    ) as caught:
        Credentials(parse("box:1"), "se cret", {}).headers()
    assert "se cret" not in str(caught.value)
    (tmp_path / "tokens" / "127.0.0.1:5").mkdir(parents=True)
    with pytest.raises(AccessDenied, match="cannot be read"):
        Credentials(parse("localhost:5"), None, {"DCF_STATE_DIR": str(tmp_path)}).headers()
