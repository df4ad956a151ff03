"""Tokens, over a real catalog."""

import base64
import hashlib
import hmac
import json
import threading

import pytest

from dcf.catalog.catalog import Catalog
from dcf.controlplane.tokens import SECRET_BYTES, Role, Tokens, load_secret
from dcf.errors import InvalidName, NameTaken, StorageError

SECRET = b"s" * SECRET_BYTES


@pytest.fixture
def catalog(tmp_path):
    with Catalog(tmp_path / "catalog.sqlite") as catalog:
        yield catalog


@pytest.fixture
def tokens(catalog):
    return Tokens(SECRET, catalog.keys)


def test_revoked_keys_are_listed_by_their_ids(tokens):
    tokens.issue("a")
    tokens.issue("b")
    assert tokens.revoked() == []
    tokens.revoke("b")
    tokens.issue("b")
    ids = {key.name: key.kid for key in tokens.keys.all() if key.revoked}
    assert tokens.revoked() == [ids["b"]]


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def vouched(jwks: bytes, token: str) -> bool:
    """Return whether a key set verifies a token (RFC 7515 and 7517)."""
    signed, _, signature = token.rpartition(".")
    header = json.loads(decoded(signed.partition(".")[0]))
    assert header["alg"] == "HS256"
    return any(
        hmac.digest(decoded(key["k"]), signed.encode(), hashlib.sha256) == decoded(signature)
        for key in json.loads(jwks)["keys"]
        if (key["kty"], key["alg"], key["kid"]) == ("oct", "HS256", header["kid"])
    )


def test_the_management_token_is_the_same_for_the_same_secret(tokens, catalog):
    assert Tokens(SECRET, catalog.keys).management == tokens.management
    other = Tokens(b"o" * SECRET_BYTES, catalog.keys)
    assert other.management != tokens.management
    assert other.recognise(tokens.management) is None
    assert not vouched(other.jwks(), tokens.management)


def test_a_key_is_valid_until_it_is_revoked(tokens):
    key = tokens.issue("laptop")
    assert tokens.recognise(key) is Role.CALLER
    assert tokens.recognise(tokens.management) is Role.MANAGER
    assert vouched(tokens.jwks(), key)
    assert vouched(tokens.jwks(), tokens.management)
    assert tokens.revoke("laptop")
    assert not tokens.revoke("laptop")
    assert tokens.recognise(key) is None
    assert not vouched(tokens.jwks(), key)
    assert vouched(tokens.jwks(), tokens.management)


def test_the_name_of_a_revoked_key_may_be_used_again(tokens):
    first = tokens.issue("laptop")
    with pytest.raises(NameTaken):
        tokens.issue("laptop")
    tokens.revoke("laptop")
    second = tokens.issue("laptop")
    assert (tokens.recognise(first), tokens.recognise(second)) == (None, Role.CALLER)
    assert not vouched(tokens.jwks(), first)


def test_a_keys_name_follows_the_rule_for_functions(tokens):
    with pytest.raises(InvalidName):
        tokens.issue("No Name")
    assert tokens.keys.all() == []


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "\udcff", "ü" * 70_000, "null.null.null"])
def test_other_texts_are_not_tokens(tokens, text):
    assert tokens.recognise(text) is None


def test_no_character_of_a_token_may_differ(tokens):
    for token in (tokens.management, tokens.issue("laptop")):
        for place in range(0, len(token), 7):
            other = "A" if token[place] != "A" else "B"
            assert tokens.recognise(token[:place] + other + token[place + 1 :]) is None


def test_keys_are_valid_after_a_restart(tokens, tmp_path):
    key = tokens.issue("laptop")
    with Catalog(tmp_path / "catalog.sqlite") as again:
        assert Tokens(SECRET, again.keys).recognise(key) is Role.CALLER
        assert vouched(Tokens(SECRET, again.keys).jwks(), key)


def test_a_secret_is_created_once_and_private(tmp_path):
    path = tmp_path / "secret"
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(load_secret(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert {load_secret(path)} == set(found)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_damaged_or_unreadable_secret_is_an_error(tmp_path):
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(StorageError, match="expected 32 bytes, got 5"):
        load_secret(tmp_path / "secret")
    with pytest.raises(StorageError, match="secret"):
        load_secret(tmp_path / "nowhere" / "secret")
