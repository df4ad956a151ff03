"""Texts with half of a character in them, a lone surrogate, from a handler."""

import re

import pytest

from dcf.errors import BadRequest, CallError, HandlerRaised, StartError, UnsupportedReply

SOURCE = """
import dcf

class Odd(Exception):
    def __str__(self):
        return "bad \\udcff"

Odd.__qualname__ = "Odd\\ud800"

def parts():
    yield "a"
    raise ValueError("bad \\udcff")

WAYS = {
    "value": lambda: (_ for _ in ()).throw(ValueError("bad \\udcff")),
    "class": lambda: (_ for _ in ()).throw(Odd()),
    "key": lambda: (_ for _ in ()).throw(KeyError("\\ud800")),
    "request": lambda: (_ for _ in ()).throw(dcf.BadRequest("bad \\udcff")),
    "exit": lambda: (_ for _ in ()).throw(SystemExit("\\ud800")),
    "text": lambda: "\\ud800",
    "json": lambda: {"a": ["\\ud800"]},
    "member": lambda: {"\\ud800": 1},
    "header": lambda: dcf.Reply("x", headers={"a": "\\ud800"}),
    "type": lambda: dcf.Reply("x", content_type="\\ud800"),
    "name": lambda: dcf.Reply("x", headers={"\\ud800": "a"}),
}

def Handler(req):
    if req.text == "parts":
        return parts()
    if req.text == "print":
        print("\\udcff".encode("utf-8", "surrogatepass"))
        return "\\udcff"
    return WAYS[req.text]()
"""


def test_half_of_a_character_fails_one_call_and_nothing_else(launch):
    running = launch(SOURCE)
    ways = re.findall(r'^    "(\w+)": lambda', SOURCE, re.MULTILINE)
    assert len(ways) == 11
    for way in ways:
        with pytest.raises(CallError) as caught:
            running.call(way.encode())
        wanted = BadRequest if way == "request" else (HandlerRaised, UnsupportedReply)
        assert isinstance(caught.value, wanted), way
        assert str(caught.value).encode()
    with pytest.raises((CallError, OSError)):
        running.call(b"parts")
    assert running.call(b"print") == b"\xff"
    assert "ValueError: bad ?" in running.log


@pytest.mark.parametrize("place", ["import", "constructor"])
def test_half_of_a_character_in_a_failed_start_is_reported(launch, place):
    source = {
        "import": 'raise ValueError("bad \\udcff")',
        "constructor": "class Handler:\n    def __call__(self, req): pass\n"
        '    def __init__(self): raise ValueError("bad \\udcff")',
    }[place]
    with pytest.raises(StartError, match=r"bad \?") as caught:
        launch(source)
    assert caught.value.traceback.encode()
