"""Calls that take long, because the function is only being started or for another reason."""

import json
import threading

import pytest

from dcf.client import async_client
from dcf.errors import NotReady
from dcf.protocol.http import PROBLEM
from dcf.protocol.problem import to_problem
from unit.cli.scripted import Reply, scripted, status

STARTING = status("hello", takes_calls=False, serving=None, ready=0)


@pytest.fixture
def gateway():
    """Answers several requests at a time."""
    with scripted() as found:
        yield found


@pytest.fixture
def waiter(face, gateway, monkeypatch):
    """A client of it."""
    monkeypatch.setattr(async_client, "NOTICE_DELAY", 0.05)
    with face(gateway.url, "secret", timeout=20) as made:
        yield made


def slowly(gateway, found, until):
    """A call that is answered only after ``until``, and how the function is meanwhile."""

    def call(_asked):
        assert until.wait(10)
        return Reply(b"late")

    gateway.answer("POST", "/function/hello", call)
    gateway.answer("GET", "/system/function/hello", found)


def test_it_is_told_once_that_the_function_is_being_started(waiter, gateway):
    told, heard = [], threading.Event()

    def hear(function):
        told.append(function.name)
        heard.set()

    slowly(gateway, STARTING, heard)
    assert waiter.call("hello", b"", on_wait=hear) == b"late"
    heard.clear()
    with waiter.open("hello", b"", on_wait=hear) as answer:
        assert answer.read() == b"late"
    assert told == ["hello", "hello"]


@pytest.mark.parametrize("found", [status("hello"), NotReady("away")], ids=["busy", "away"])
def test_nothing_is_told_of_a_function_that_is_slow_or_unknown(waiter, gateway, found):
    looked = threading.Event()

    def look(_asked):
        looked.set()
        if isinstance(found, NotReady):
            return Reply(to_problem(found), 503, PROBLEM)
        return Reply(json.dumps(found).encode())

    slowly(gateway, look, looked)
    assert waiter.call("hello", b"", on_wait=pytest.fail) == b"late"


def test_a_quick_call_asks_nothing_else(waiter, gateway):
    gateway.answer("POST", "/function/hello", Reply(b"quick"))

    assert waiter.call("hello", b"", on_wait=pytest.fail) == b"quick"
    assert [one.target for one in gateway.asked] == ["/function/hello"]
