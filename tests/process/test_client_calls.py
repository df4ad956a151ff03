"""Functions that call one another, in real replicas.

A replica takes calls at ``/function/NAME`` as a gateway does, so one stands for the gateway here.
"""

import asyncio
import json
import threading

import pytest

import dcf
from dcf.errors import DeadlineExceeded, HandlerRaised
from ports import free_port

OTHER = """
    def Handler(req):
        if req.input == b"raise":
            raise ValueError("not today")
        return {"input": req.text, "id": req.request_id, "left": req.remaining,
                "token": req.headers.get("authorization")}
"""


@pytest.fixture
def start(launch):
    """Starts a function that calls ``other``, and ``other``; gives the first one's client."""
    running = launch(OTHER, function="other", listen="tcp:127.0.0.1:0")
    address = running.endpoint.removeprefix("tcp:")

    def started(source, **given):
        environment = {"DCF_GATEWAY": f"http://{address}", "DCF_TOKEN": "key-1"}
        return launch(source, environment=environment, **given)

    return started


PLAIN = """
    from dcf import call

    def Handler(req):
        return call("other", req.input, timeout=60)
"""
ASYNC = """
    import dcf

    async def Handler(req):
        return await dcf.call_async("other", req.input, timeout=60)
"""


@pytest.mark.parametrize("source", [PLAIN, ASYNC], ids=["plain", "async"])
def test_a_function_calls_another_within_what_is_left_of_its_own_call(start, source):
    running = start(source)
    for _ in range(2):
        headers = {"x-dcf-deadline-ms": "5000", "x-request-id": "id-1"}
        told = json.loads(running.call(b"hello", headers=headers))
        left = told.pop("left")
        assert told == {"input": "hello", "id": "id-1", "token": "Bearer key-1"}
        assert 0 < left <= 5


@pytest.mark.parametrize("source", [PLAIN, ASYNC], ids=["plain", "async"])
def test_what_the_other_raised_is_raised_here(start, source):
    with pytest.raises(HandlerRaised, match="not today") as caught:
        start(source).call(b"raise")
    assert caught.value.exception == "dcf.errors.HandlerRaised"


MESH = """
    import mesh

    def Handler(req):
        return mesh.mesh_call("other", req.text)
"""


def test_the_old_way_to_call_works(start):
    reply = start(MESH).call(b"hello")
    assert isinstance(reply, bytes)
    assert json.loads(reply)["input"] == "hello"


def test_a_mesh_of_the_author_s_wins(launch, tmp_path):
    source = """
        from pathlib import Path
        Path("mesh.py").write_text("mesh_call = lambda name, data: b'mine'")
        import mesh

        def Handler(req):
            return mesh.mesh_call("other", req.input)
    """
    assert launch(source).call() == b"mine"


def test_a_function_that_belongs_to_no_gateway_is_told_so(launch):
    with pytest.raises(
        HandlerRaised,
        match="cannot call other: expected the address of a gateway in DCF_GATEWAY, got",
    ):
        launch(PLAIN).call()


CYCLE = """
    from dcf import call

    def Handler(req):
        return call("circle", req.input)
"""


def test_a_function_that_waits_for_itself_ends_at_the_deadline(launch):
    port = free_port()
    environment = {"DCF_GATEWAY": f"http://127.0.0.1:{port}"}
    launch(CYCLE, environment=environment, function="circle", listen=f"tcp:127.0.0.1:{port}")
    with dcf.Client(f"127.0.0.1:{port}", "t") as client, pytest.raises(DeadlineExceeded):
        client.call("circle", b"round", timeout=0.5)


def test_a_client_serves_many_threads(launch):
    running = launch(OTHER, function="other", listen="tcp:127.0.0.1:0")
    replies: list[int] = []

    def ask(client, number):
        for turn in range(20):
            text = f"{number}-{turn}"
            assert json.loads(client.call("other", text))["input"] == text
        replies.append(number)

    with dcf.Client(running.endpoint.removeprefix("tcp:"), "t") as client:
        threads = [threading.Thread(target=ask, args=(client, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(replies) == list(range(8))


def test_an_async_client_serves_many_tasks(launch):
    running = launch(OTHER, function="other", listen="tcp:127.0.0.1:0")

    async def ask():
        async with dcf.AsyncClient(running.endpoint.removeprefix("tcp:"), "t") as client:
            texts = [str(number) for number in range(64)]
            replies = await asyncio.gather(*(client.call("other", text) for text in texts))
            assert [json.loads(reply)["input"] for reply in replies] == texts

    asyncio.run(ask())


def test_an_async_call_that_is_cancelled_leaves_the_client_usable(launch):
    source = """
        import time

        def Handler(req):
            while req.input == b"wait" and not req.cancelled:
                time.sleep(0.01)
            return req.input
    """
    running = launch(source, function="other", listen="tcp:127.0.0.1:0")

    async def ask():
        async with dcf.AsyncClient(running.endpoint.removeprefix("tcp:"), "t") as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.call("other", b"wait")
            assert await client.call("other", b"next") == b"next"

    asyncio.run(ask())
