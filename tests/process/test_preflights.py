"""CORS preflights: a handler runs because of one only where its author has said so."""

from __future__ import annotations

import json
from itertools import product

import pytest

from process.plane import running
from process.raw_http import FRAMINGS, connected

COUNT = """
import dcf
calls = 0

def Handler(req):
    global calls
    calls += 1
    if req.path == "/calls":
        return str(calls)
    return dcf.Reply(req.method, headers={"access-control-allow-origin": "https://own.example"})
"""

PREFLIGHT = ("origin: https://evil.example", "access-control-request-method: POST")
OTHERS = [
    (),
    PREFLIGHT[:1],
    PREFLIGHT[1:],
    ("access-control-request-headers: x-a", "origin: https://evil.example"),
]


def ask(address, base: str, headers, framing: str = "none", method: str = "OPTIONS"):
    with connected(address) as connection:
        later = connection.request(method, f"{base}/", b"", framing=framing, headers=headers)
        return connection.answer(method, later)


def calls(address, base: str = "") -> int:
    with connected(address) as connection:
        connection.request("GET", f"{base}/calls")
        return int(connection.answer("GET").body)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_preflight_is_refused_and_the_handler_never_runs(launch, framing):
    address = launch(COUNT).endpoint.removeprefix("unix:")
    shapes = (PREFLIGHT, PREFLIGHT[::-1], tuple(map(str.title, PREFLIGHT)), (*PREFLIGHT, "a: b"))
    for headers in shapes:
        answer = ask(address, "", headers, framing)
        assert answer.status == 403
        problem = json.loads(answer.body)
        assert problem["error"] == "PreflightRefused"
        assert "preflight: true" in problem["detail"]
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert calls(address) == 1


def test_what_is_no_preflight_is_a_call(launch):
    address = launch(COUNT).endpoint.removeprefix("unix:")
    for headers, framing in product(OTHERS, FRAMINGS):
        assert ask(address, "", headers, framing).body == b"OPTIONS"
    assert ask(address, "", PREFLIGHT, method="POST").body == b"POST"


def test_a_handler_answers_preflights_where_its_author_says_so(launch):
    address = launch(COUNT, preflight=True).endpoint.removeprefix("unix:")
    answer = ask(address, "", PREFLIGHT)
    assert (answer.status, answer.body) == (200, b"OPTIONS")
    assert answer.headers["access-control-allow-origin"] == "https://own.example"


def test_a_gateway_answers_for_the_origins_of_its_option(launch, short_dir):
    with running(short_dir, cors="https://app.example") as plane:
        plane.set("f", launch(COUNT, function="f").endpoint)
        address, base = ("127.0.0.1", plane.port), "/function/f"
        allowed = ask(address, base, ("origin: https://app.example", PREFLIGHT[1]))
        assert allowed.status == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert ask(address, base, PREFLIGHT).status == 403
        assert calls(address, base) == 1
