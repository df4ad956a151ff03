"""Calls: what they carry, how they end, how they are counted, and calls from handlers."""

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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        gateway.deploy(gateway.write("kit", KIT))
        gateway.deploy(gateway.write("sleeper", SLEEPER), "--no-wait")
        gateway.deploy(gateway.write("thrower", THROWER), "--no-wait")
        gateway.deploy(gateway.write("idle", KIT), "--no-wait")
        gateway.client.scale("idle", 0)
        gateway.deploy(gateway.write("chain", CHAIN))
        gateway.deploy(gateway.write("pages", KIT, config="    preflight: true\n"))
        gateway.until_ready("sleeper")
        gateway.until_ready("thrower")
        yield gateway


def in_flight(gateway: GatewayProcess, name: str) -> float:
    return sample(gateway, "dcf_function_in_flight", function=name)


def sample(gateway: GatewayProcess, metric: str, **labels: str) -> float:
    text = gateway.get("/metrics")[2].decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == metric and sample.labels == labels:
                return float(sample.value)
    raise AssertionError(f"{metric} {labels} is not in\n{text}")


def problem(gateway: GatewayProcess, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    status, received, body = gateway.request("POST", path, b"", sent)
    assert received["content-type"] == "application/problem+json"
    return status, json.loads(body)


def test_a_trace_shows_where_the_time_was_spent(gateway: GatewayProcess) -> None:
    result = gateway.dcf("function", "call", "kit", "--trace", input=b"hi")

    assert result.returncode == 0
    reply = json.loads(result.stdout)
    assert reply["text"] == "hi"
    lines = dict(line.split()[:2] for line in result.stderr.decode().splitlines())
    for part in ("queue", "handler", "gateway", "transfer", "total"):
        assert float(lines[part]) >= 0
    assert lines["request"] == reply["id"]


def test_headers_method_and_path_reach_the_handler(gateway: GatewayProcess) -> None:
    options = ("--header", "X-Colour: green", "--path", "header")
    assert gateway.dcf("function", "call", "kit", *options).stdout == b"green"
    options = ("--method", "GET", "--path", "?a=1&b=%C3%A4")
    reply = json.loads(gateway.dcf("function", "call", "kit", *options).stdout)
    assert (reply["method"], reply["query"]) == ("GET", {"a": "1", "b": "ä"})


def test_a_call_that_takes_too_long_ends_with_504_and_exit_code_10(gateway: GatewayProcess) -> None:
    status, document = problem(gateway, "/function/kit/sleep", x_dcf_deadline_ms="200")
    assert (status, document["error"]) == (504, "DeadlineExceeded")
    result = gateway.dcf("function", "call", "kit", "--path", "sleep", "--timeout", "0.2")
    assert result.returncode == 10
    gateway.until(lambda: in_flight(gateway, "kit") == 0)


def test_a_handler_that_raises_answers_with_its_traceback(gateway: GatewayProcess) -> None:
    status, document = problem(gateway, "/function/kit/raise")
    assert (status, document["error"], document["exception"]) == (
        500,
        "HandlerRaised",
        "LookupError",
    )
    assert "nothing there" in document["traceback"]
    result = gateway.dcf("function", "call", "kit", "--path", "raise")
    assert result.returncode == 9
    assert b"LookupError: nothing there" in result.stderr


def test_a_replica_that_exits_during_a_call_is_reported_and_replaced(
    gateway: GatewayProcess,
) -> None:
    status, document = problem(gateway, "/function/kit/end")
    assert (status, document["error"]) == (502, "ReplicaLost")
    gateway.until(lambda: gateway.call("kit", b"again")[0] == 200)
    kinds = [str(event.kind) for event in gateway.client.events("kit")]
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
@pytest.mark.parametrize("with_id", [True, False])
def test_every_reply_has_a_request_id_and_its_duration(
    gateway: GatewayProcess, path: str, status: int, *, with_id: bool
) -> None:
    identity = "my-own-id" if with_id else ""
    method = "GET" if path.startswith("/system") else "POST"
    headers = {"x-request-id": identity} if with_id else {}
    got_status, received, body = gateway.request(method, path, b"", headers)

    assert got_status == status
    assert received["x-request-id"] == identity if with_id else uuid.UUID(received["x-request-id"])
    assert re.search(r"gateway;dur=[0-9.]+(e-[0-9]+)?", received["server-timing"])
    if path.startswith("/function/kit"):
        assert "handler;dur=" in received["server-timing"]
    if status >= 400:
        assert received["content-type"] == "application/problem+json"
        document = json.loads(body)
        assert document["status"] == status
        assert document["request_id"] == received["x-request-id"]


def test_a_call_is_counted(gateway: GatewayProcess) -> None:
    gateway.deploy(gateway.write("counted", KIT))
    for path in ("", "/header", "/raise"):
        gateway.call(f"counted{path}")

    def counted(metric: str, **labels: str) -> float:
        return sample(gateway, metric, function="counted", **labels)

    gateway.until(lambda: counted("dcf_function_invocations_total") == 3)
    gateway.until(lambda: counted("dcf_function_errors_total", kind="server") == 1)
    gateway.until(lambda: counted("dcf_function_duration_seconds_count") == 3)
    assert counted("dcf_function_replicas", state="ready") == 1
    assert counted("dcf_function_replicas_wanted") == 1
    assert gateway.client.function("counted").invocations == 3


def test_a_call_from_a_handler_has_its_request_id_and_its_remaining_time(
    gateway: GatewayProcess,
) -> None:
    headers = {"x-request-id": "one-id", "x-dcf-deadline-ms": "5000"}
    status, received, body = gateway.request("POST", "/function/chain", b"hello", headers)

    assert status == 200, body
    reply = json.loads(body)
    assert (reply["text"], reply["id"], received["x-request-id"]) == ("hello", "one-id", "one-id")
    assert 0 < reply["left"] < 5


def test_the_mesh_of_the_original_works(gateway: GatewayProcess) -> None:
    status, _, body = gateway.request("POST", "/function/chain/mesh", b"hello")
    assert (status, json.loads(body)["text"]) == (200, "hello")


def test_an_error_in_a_call_from_a_handler_is_reported(gateway: GatewayProcess) -> None:
    status, document = problem(gateway, "/function/chain/unknown")
    assert status == 500
    assert "FunctionNotFound" in document["traceback"]
    assert "kitt" in document["detail"]
    status, document = problem(gateway, "/function/chain/raise")
    assert status == 500
    assert "nothing there" in document["detail"]


def test_a_deadline_applies_to_a_chain_of_calls(gateway: GatewayProcess) -> None:
    begin = time.monotonic()
    status, document = problem(gateway, "/function/chain/sleep", x_dcf_deadline_ms="300")

    assert (status, document["error"]) == (504, "DeadlineExceeded")
    assert time.monotonic() - begin < 10, "the deadline must end the sleep of 20 s"
    gateway.until(lambda: in_flight(gateway, "sleeper") == 0)
    assert gateway.call("chain", b"x")[0] == 200


def test_exceeding_the_memory_limit_fails_the_call_or_ends_the_replica(
    gateway: GatewayProcess,
) -> None:
    gateway.deploy(gateway.write("eater", KIT, config="    limits: {memory: 300Mi}\n"))
    (replica,) = gateway.client.function("eater").replica_list
    assert re.search(r"memory: 300 MiB \(.+\)", " ".join(replica.limits)), replica.limits
    status, document = problem(gateway, "/function/eater/eat")

    if status == 500:
        assert document["exception"] == "MemoryError"
    else:
        assert document["error"] == "ReplicaLost"
        gateway.until(
            lambda: any("memory" in event.detail for event in gateway.client.events("eater"))
        )
    gateway.until(lambda: gateway.call("eater", b"x")[0] == 200)


def test_with_the_key_preflight_the_handler_answers_preflights(gateway: GatewayProcess) -> None:
    preflight = {"origin": "https://app.example", "access-control-request-method": "POST"}
    status, _, body = gateway.request("OPTIONS", "/function/pages", b"", preflight)
    assert (status, json.loads(body)["method"]) == (200, "OPTIONS")
    status, _, body = gateway.request("OPTIONS", "/function/kit", b"", preflight)
    assert (status, json.loads(body)["error"]) == (403, "PreflightRefused")
