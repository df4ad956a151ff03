"""What a call inside a call takes over, and what a process without a gateway is told."""

import asyncio
import subprocess
import sys
import time

import pytest

import dcf
from dcf.errors import GatewayUnreachable
from dcf.function.calls import _inherited
from dcf.function.request import CURRENT, Request


@pytest.fixture
def answering():
    """Answers a request that has 5 s left."""
    token = CURRENT.set(Request(request_id=b"id-1", ends=time.monotonic() + 5))
    yield
    CURRENT.reset(token)


def test_a_call_outside_of_calls_inherits_nothing():
    assert _inherited(None, None) == {"timeout": None, "headers": {}}
    assert _inherited(2, {"X-A": "b"}) == {"timeout": 2, "headers": {"x-a": "b"}}


def test_a_call_inside_a_call_has_its_id_and_what_is_left_of_its_time(answering):
    given = _inherited(None, None)
    assert given["headers"] == {"x-request-id": "id-1"}
    assert 0 < given["timeout"] <= 5
    assert _inherited(60, None)["timeout"] <= 5
    assert _inherited(2, {"X-Request-Id": "mine"}) == {
        "timeout": 2,
        "headers": {"x-request-id": "mine"},
    }


def test_a_stream_inside_a_stream_has_its_id_and_the_time_that_its_caller_set(answering):
    given = _inherited(None, None, stream=True)
    assert given == {"timeout": None, "headers": {"x-request-id": "id-1"}}
    request = Request(ends=time.monotonic() + 1, until=time.monotonic() + 5).about(b"message")
    assert 4 < request.remaining_in_all <= 5
    token = CURRENT.set(request)
    assert 4 < _inherited(60, None, stream=True)["timeout"] <= 5
    CURRENT.reset(token)


def test_a_process_without_a_gateway_is_told_so(monkeypatch):
    monkeypatch.delenv("DCF_GATEWAY", raising=False)
    with pytest.raises(
        GatewayUnreachable, match="cannot call other: expected the address of a gateway in"
    ):
        dcf.call("other")
    with pytest.raises(
        GatewayUnreachable, match="in DCF_GATEWAY, got nothing; deploy both functions"
    ):
        asyncio.run(dcf.call_async("other"))
    with pytest.raises(
        GatewayUnreachable, match="in DCF_GATEWAY, got nothing; deploy both functions"
    ):
        dcf.stream("other", [])


def test_importing_dcf_loads_no_client():
    code = (
        "import dcf, sys; dcf.Request; sys.exit(bool({'h11', 'ssl', 'asyncio'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_root_has_all_that_it_says():
    assert all(getattr(dcf, name) is not None for name in dcf.__all__)
    assert dcf.errors.HandlerRaised is dcf.errors.HandlerRaised
