"""Calls: what they carry, how they end, how they are counted, and calls out of calls."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.gateway_process import GatewayProcess, running

KIT = """
import os, time

class Handler:
    def __call__(self, req):
        what = req.path.strip("/")
        if what == "sleep":
            end = time.monotonic() + 20
            while not req.cancelled and time.monotonic() < end:
                time.sleep(0.01)
        if what == "raise":
            raise LookupError("nothing there")
        if what == "end":
            os._exit(9)
        if what == "eat":
            return str(len(b"x" * 400_000_000))
        if what == "header":
            return req.headers.get("x-colour", "none")
        return {
            "text": req.text,
            "id": req.request_id,
            "left": req.remaining,
            "method": req.method,
            "query": req.query,
        }
"""

CHAIN = """
import dcf

class Handler:
    def __call__(self, req):
        path = req.path.strip("/")
        if path == "mesh":
            import mesh
            return mesh.mesh_call("kit", req.input)
        if path == "unknown":
            return dcf.call("kitt", req.input)
        if path == "raise":
            return dcf.call("thrower", req.input)
        name = "sleeper" if path == "sleep" else "kit"
        return dcf.call(name, req.input)
"""

SLEEPER = KIT.replace('what = req.path.strip("/")', 'what = "sleep"')
THROWER = KIT.replace('what = req.path.strip("/")', 'what = "raise"')


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        house.deploy(house.write("kit", KIT))
        house.deploy(house.write("sleeper", SLEEPER), "--no-wait")
        house.deploy(house.write("thrower", THROWER), "--no-wait")
        house.deploy(house.write("idle", KIT), "--no-wait")
        house.client.scale("idle", 0)
        house.deploy(house.write("chain", CHAIN))
        house.deploy(house.write("pages", KIT, config="    preflight: true\n"))
        house.until_ready("sleeper")
        house.until_ready("thrower")
        yield house


def in_flight(house: GatewayProcess, name: str) -> float:
    return sample(house, "dcf_function_in_flight", function=name)


def sample(house: GatewayProcess, metric: str, **labels: str) -> float:
    text = house.get("/metrics")[2].decode()
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.name == metric and one.labels == labels:
                return float(one.value)
    raise AssertionError(f"{metric} {labels} is not in\n{text}")


def problem(house: GatewayProcess, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    status, told, body = house.request("POST", path, b"", given)
    assert told["content-type"] == "application/problem+json"
    return status, json.loads(body)


def test_a_trace_tells_where_the_time_went(house: GatewayProcess) -> None:
    done = house.dcf("function", "call", "kit", "--trace", input=b"hi")

    assert done.returncode == 0
    reply = json.loads(done.stdout)
    assert reply["text"] == "hi"
    lines = dict(line.split()[:2] for line in done.stderr.decode().splitlines())
    for part in ("queue", "handler", "gateway", "transfer", "total"):
        assert float(lines[part]) >= 0
    assert lines["request"] == reply["id"]


def test_header_method_and_path_reach_the_handler(house: GatewayProcess) -> None:
    given = ("--header", "X-Colour: green", "--path", "header")
    assert house.dcf("function", "call", "kit", *given).stdout == b"green"
    asked = ("--method", "GET", "--path", "?a=1&b=%C3%A4")
    reply = json.loads(house.dcf("function", "call", "kit", *asked).stdout)
    assert (reply["method"], reply["query"]) == ("GET", {"a": "1", "b": "ä"})


def test_a_call_that_takes_too_long_ends_with_504_and_exit_code_10(house: GatewayProcess) -> None:
    status, told = problem(house, "/function/kit/sleep", x_dcf_deadline_ms="200")
    assert (status, told["error"]) == (504, "DeadlineExceeded")
    done = house.dcf("function", "call", "kit", "--path", "sleep", "--timeout", "0.2")
    assert done.returncode == 10
    house.until(lambda: in_flight(house, "kit") == 0)


def test_a_handler_that_raises_answers_with_its_traceback(house: GatewayProcess) -> None:
    status, told = problem(house, "/function/kit/raise")
    assert (status, told["error"], told["exception"]) == (500, "HandlerRaised", "LookupError")
    assert "nothing there" in told["traceback"]
    done = house.dcf("function", "call", "kit", "--path", "raise")
    assert done.returncode == 9
    assert b"LookupError: nothing there" in done.stderr


def test_a_replica_that_ends_during_a_call_is_told_and_replaced(house: GatewayProcess) -> None:
    status, told = problem(house, "/function/kit/end")
    assert (status, told["error"]) == (502, "ReplicaLost")
    house.until(lambda: house.call("kit", b"again")[0] == 200)
    kinds = [str(event.kind) for event in house.client.events("kit")]
    assert "crashed" in kinds, kinds


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/function/kit", 200),
        ("/function/kit/raise", 500),
        ("/function/nobody", 404),
        ("/system/keys", 401),
        ("/nothing", 404),
        ("/function/idle", 503),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_every_reply_has_a_request_id_and_its_time(
    house: GatewayProcess, path: str, status: int, *, given: bool
) -> None:
    identity = "my-own-id" if given else ""
    method = "GET" if path.startswith("/system") else "POST"
    headers = {"x-request-id": identity} if given else {}
    found, told, body = house.request(method, path, b"", headers)

    assert found == status
    assert told["x-request-id"] == identity if given else uuid.UUID(told["x-request-id"])
    assert re.search(r"gateway;dur=[0-9.]+(e-[0-9]+)?", told["server-timing"])
    if path.startswith("/function/kit"):
        assert "handler;dur=" in told["server-timing"]
    if status >= 400:
        assert told["content-type"] == "application/problem+json"
        document = json.loads(body)
        assert document["status"] == status
        assert document["request_id"] == told["x-request-id"]


def test_a_call_is_counted(house: GatewayProcess) -> None:
    house.deploy(house.write("counted", KIT))
    for path in ("", "/header", "/raise"):
        house.call(f"counted{path}")

    def counted(metric: str, **labels: str) -> float:
        return sample(house, metric, function="counted", **labels)

    house.until(lambda: counted("dcf_function_invocations_total") == 3)
    house.until(lambda: counted("dcf_function_errors_total", kind="server") == 1)
    house.until(lambda: counted("dcf_function_duration_seconds_count") == 3)
    assert counted("dcf_function_replicas", state="ready") == 1
    assert counted("dcf_function_replicas_wanted") == 1
    assert house.client.function("counted").invocations == 3


def test_a_call_out_of_a_call_has_its_id_and_what_is_left_of_its_time(
    house: GatewayProcess,
) -> None:
    headers = {"x-request-id": "one-id", "x-dcf-deadline-ms": "5000"}
    status, told, body = house.request("POST", "/function/chain", b"hello", headers)

    assert status == 200, body
    reply = json.loads(body)
    assert (reply["text"], reply["id"], told["x-request-id"]) == ("hello", "one-id", "one-id")
    assert 0 < reply["left"] < 5


def test_the_mesh_of_old_works(house: GatewayProcess) -> None:
    status, _, body = house.request("POST", "/function/chain/mesh", b"hello")
    assert (status, json.loads(body)["text"]) == (200, "hello")


def test_what_goes_wrong_in_a_call_out_of_a_call_is_told(house: GatewayProcess) -> None:
    status, told = problem(house, "/function/chain/unknown")
    assert status == 500
    assert "FunctionNotFound" in told["traceback"]
    assert "kitt" in told["detail"]
    status, told = problem(house, "/function/chain/raise")
    assert status == 500
    assert "nothing there" in told["detail"]


def test_a_deadline_holds_for_a_whole_chain(house: GatewayProcess) -> None:
    begin = time.monotonic()
    status, told = problem(house, "/function/chain/sleep", x_dcf_deadline_ms="300")

    assert (status, told["error"]) == (504, "DeadlineExceeded")
    assert time.monotonic() - begin < 10, "not the 20 s that the last one would sleep"
    house.until(lambda: in_flight(house, "sleeper") == 0)
    assert house.call("chain", b"x")[0] == 200


def test_memory_beyond_the_limit_is_an_error_of_the_call_or_ends_the_replica(
    house: GatewayProcess,
) -> None:
    house.deploy(house.write("eater", KIT, config="    limits: {memory: 300Mi}\n"))
    (replica,) = house.client.function("eater").replica_list
    assert re.search(r"memory: 300 MiB \(.+\)", " ".join(replica.limits)), replica.limits
    status, told = problem(house, "/function/eater/eat")

    if status == 500:
        assert told["exception"] == "MemoryError"
    else:
        assert told["error"] == "ReplicaLost"
        house.until(lambda: any("memory" in one.detail for one in house.client.events("eater")))
    house.until(lambda: house.call("eater", b"x")[0] == 200)


def test_the_key_preflight_has_the_handler_answer_preflights(house: GatewayProcess) -> None:
    asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
    status, _, body = house.request("OPTIONS", "/function/pages", b"", asked)
    assert (status, json.loads(body)["method"]) == (200, "OPTIONS")
    status, _, body = house.request("OPTIONS", "/function/kit", b"", asked)
    assert (status, json.loads(body)["error"]) == (403, "PreflightRefused")
