"""The control plane's HTTP interface."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from dcf.controlplane.http import bodies, upload_routes
from dcf.errors import DcfError, GatewayError, HandlerInitFailed
from dcf.model.artifact import Bundle, BundleFile, digest_of
from dcf.model.status import Failure
from dcf.protocol.gateway import (
    event_of,
    function_of,
    info_of,
    missing_blob_of,
    revision_of,
    upload,
)
from unit.controlplane.http_kit import DIGEST, Served


def test_health_replies_ok(served: Served) -> None:
    answer = served.ask("GET", "/healthz", token="")

    assert (answer.status, answer.body) == (200, b"ok")


def test_replies_can_be_parsed_into_records(served: Served) -> None:
    listed = served.ask("GET", "/system/functions").json()
    shown = served.ask("GET", "/system/function/hello").json()
    revisions = served.ask("GET", "/system/function/hello/revisions").json()
    events = served.ask("GET", "/system/function/hello/events").json()
    info = served.ask("GET", "/system/info").json()

    assert [function_of(one) for one in listed] == list(served.plane.known.values())
    assert function_of(shown) == served.plane.known["hello"]
    assert [revision_of(one).number for one in revisions] == [1]
    assert [event_of(one).kind for one in events] == ["deployed"]
    assert info_of(info).version == "1.2.3"


@pytest.mark.parametrize(
    ("remote", "shown"),
    [({}, True), ({"x_dcf_remote": "management"}, True), ({"x_dcf_remote": "0f"}, False)],
)
def test_only_this_machine_and_the_manager_see_the_traceback_of_a_failed_start(
    served: Served, monkeypatch: pytest.MonkeyPatch, remote: dict[str, str], *, shown: bool
) -> None:
    failure = Failure(1.0, "it fails", "HandlerInitFailed", "Traceback in handler.py", "r1")
    failed = replace(served.plane.known["hello"], failure=failure)
    monkeypatch.setitem(served.plane.known, "hello", failed)
    expected = failure if shown else replace(failure, traceback="")

    one = served.ask("GET", "/system/function/hello", **remote).json()
    several = served.ask("GET", "/system/functions", **remote).json()

    assert function_of(one).failure == expected
    assert function_of(several[0]).failure == expected


def test_only_this_machine_and_the_manager_see_the_traceback_of_a_call_without_a_replica(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def why_not(_name: str) -> DcfError:
        return HandlerInitFailed("it fails", "Traceback in handler.py")

    monkeypatch.setattr(served.plane, "why_not", why_not)
    near = served.ask("POST", "/function/hello").json()
    far = served.ask("POST", "/function/hello", x_dcf_remote="0f").json()

    assert near["traceback"] == "Traceback in handler.py"
    assert {**near, "traceback": "", "request_id": ""} == {
        **far,
        "traceback": "",
        "request_id": "",
    }
    assert "traceback" not in far


def test_metrics_are_text_for_prometheus(served: Served) -> None:
    answer = served.ask("GET", "/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'dcf_function_invocations_total{function="hello"} 7\n' in answer.body


def test_a_function_is_deleted_and_scaled(served: Served) -> None:
    assert (
        served.ask("PUT", "/system/scale-function", {"name": "hello", "replicas": 3}).json()[
            "replicas"
        ]
        == 3
    )
    for name in ("serviceName", "functionName"):
        body = {name: "hello", "replicas": 0}
        assert served.ask("PUT", "/system/scale-function", body).status == 200
    assert served.ask("DELETE", "/system/function/hello").status == 204
    assert served.ask("DELETE", "/system/function/hello").status == 404


def test_a_function_returns_to_automatic_scaling(served: Served) -> None:
    body = {"name": "hello", "replicas": None}

    assert served.ask("PUT", "/system/scale-function", body).status == 200
    assert served.plane.asked[-1] is None


@pytest.mark.parametrize(
    ("body", "number"),
    [(None, None), (b"{}", None), ({"revision": None}, None), ({"revision": 3}, 3)],
)
def test_a_function_is_rolled_back(served: Served, body: object, number: int | None) -> None:
    answer = served.ask("POST", "/system/function/hello/rollback", body)

    assert function_of(answer.json()) == served.plane.known["hello"]
    assert served.plane.asked[-1] == number


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"revision": "3"}, 'revision: expected a whole number or null, got "3"'),
        ({"revision": True}, "revision: expected a whole number or null, got true"),
        ({"revision": 0}, "revision: expected a number, 1 or more, got 0"),
        ({"revision": 1 << 64}, "revision: expected a number, 1 or more, got 18446744073709551616"),
        ({"number": 3}, 'unknown member "number"; known members: revision'),
        ([3], "the body: expected a JSON object, got a list; known members: revision"),
        (b"3 4", "the body is not valid JSON: line 1, column 3: Extra data"),
    ],
)
def test_an_invalid_rollback_is_rejected_with_the_reason(
    served: Served, body: object, told: str
) -> None:
    answer = served.ask("POST", "/system/function/hello/rollback", body)

    assert answer.status == 400
    assert told in answer.json()["detail"]


def test_a_canary_is_promoted_and_aborted(served: Served) -> None:
    refused = served.ask("POST", "/system/function/hello/promote")
    aborted = served.ask("POST", "/system/function/hello/abort", b"{}")

    assert (refused.status, refused.json()["error"]) == (409, "RolloutInvalid")
    assert aborted.status == 200
    assert served.ask("POST", "/system/function/nobody/abort").status == 404
    assert served.ask("POST", "/system/function/hello/abort", {"now": 1}).status == 400
    assert served.ask("POST", "/system/function/hello/promote", token="").status == 401


def test_head_works_where_get_does(served: Served) -> None:
    for target in ("/healthz", "/system/functions", "/system/function-log/hello?follow=1"):
        answer = served.ask("HEAD", target)

        assert (answer.status, answer.body) == (200, b"")
    assert served.ask("HEAD", "/system/scale-function").status == 405


# Ids, times, log


def test_a_callers_id_is_returned_and_a_missing_or_invalid_id_is_replaced(served: Served) -> None:
    given = served.ask("GET", "/healthz", x_request_id="abc-1")
    made = served.ask("GET", "/healthz", x_request_id="two words")
    refused = served.ask("GET", "/nowhere", x_request_id="abc-2")

    assert given.headers.get_all("x-request-id") == ["abc-1"]
    assert made.headers["x-request-id"] not in {"two words", None}
    assert refused.json()["request_id"] == refused.headers["x-request-id"] == "abc-2"
    assert given.headers["server-timing"].startswith("control;dur=")


def test_a_request_is_one_line_of_json_in_the_log(served: Served, caplog) -> None:
    caplog.set_level(logging.INFO, "dcf.controlplane")
    served.ask("GET", "/system/function/nobody", x_request_id="abc", token="s3cret")
    served.ask("GET", "/healthz")

    lines = [json.loads(one.message) for one in caplog.records]
    assert [one["path"] for one in lines] == ["/system/function/nobody"]
    assert {**lines[0], "ms": 0} == {
        "method": "GET",
        "path": "/system/function/nobody",
        "status": 404,
        "ms": 0,
        "request_id": "abc",
    }
    assert "s3cret" not in caplog.text


def test_an_internal_error_is_logged_with_the_requests_id_and_not_shown(
    served: Served, caplog
) -> None:
    answer = served.ask("GET", "/system/function/defect", x_request_id="abc")

    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"secret" not in answer.body
    assert b"abc" in answer.body
    assert "request abc" in caplog.text
    assert "ZeroDivisionError" in caplog.text


# Bad requests


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"name": "hello",\n "replicas": }', "line 2, column 14"),
        (b"\xff", "the body is not valid UTF-8: byte 0"),
        (b"[" * 50_000, "the body is not valid JSON: "),
        (b"1" * 5_000, "the body is not valid JSON: "),
        (b"", "line 1, column 1"),
        (b"[]", "the body: expected a JSON object, got a list; known members: name, serviceName"),
        (b'{"name": "hello", "replicas": "3"}', 'expected a whole number or null, got "3"'),
        (b'{"name": "hello", "replicas": true}', "expected a whole number or null, got true"),
        (b'{"name": "hello", "replicas": {}}', "expected a whole number or null, got an object"),
        (b'{"name": "hello"}', "replicas: expected a whole number or null, got nothing"),
        (b'{"name": "hello", "functionName": "hello", "replicas": 3}', "name: expected one"),
        (b'{"replicas": 3}', "name: expected one function's name"),
        (b'{"name": "hello", "replica": 3}', 'unknown member "replica"; known members: name'),
        (b'{"name": "..", "replicas": 3}', "invalid function name '..'"),
    ],
)
def test_an_invalid_body_is_rejected_with_the_reason(
    served: Served, body: bytes, told: str
) -> None:
    answer = served.ask("PUT", "/system/scale-function", body)

    assert answer.status == 400
    assert told in answer.json()["detail"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (
            "/system/functions?limit=3",
            'unknown query parameter "limit"; known query parameters: none',
        ),
        (
            "/system/function-log/hello?lines=3",
            'unknown query parameter "lines"; known query parameters: since, tail, follow, replica',
        ),
        (
            "/system/function-log/hello?tail=-1",
            "tail: expected a whole number, 0 or more, got '-1'",
        ),
        ("/system/function-log/hello?tail=%C2%B2", "tail: "),
        (
            "/system/function-log/hello?since=yesterday",
            "since: expected seconds since the epoch, got 'yesterday'",
        ),
        ("/system/function-log/hello?since=nan", "since: "),
        ("/system/function-log/hello?follow=yes", "follow: expected 0 or 1, got 'yes'"),
        ("/system/function/%2e%2e", "%2e must be written ."),
        ("/system/function/a%00b", "%00 is not allowed"),
        ("/system/function/%C3%A4", "invalid function name"),
        ("/system/function/Hello", "lower-case"),
    ],
)
def test_an_invalid_path_or_query_is_rejected_with_the_reason(
    served: Served, target: str, told: str
) -> None:
    answer = served.ask("GET", target)

    assert answer.status == 400
    assert told in answer.json()["detail"]


def test_a_body_over_the_limit_is_rejected_unread(served: Served) -> None:
    with served.begin(
        "PUT /system/scale-function HTTP/1.1\r\ncontent-length: 100001\r\n\r\n"
    ) as sock:
        assert sock.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")


def test_a_body_over_the_limit_is_rejected_while_it_arrives(served: Served) -> None:
    head = "PUT /system/scale-function HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    with served.begin(head) as sock:
        sock.sendall(b"186a1\r\n" + b"x" * 100_001 + b"\r\n")
        assert sock.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")


def test_a_client_that_stalls_gets_an_error_and_is_disconnected(
    served: Served, monkeypatch
) -> None:
    monkeypatch.setattr(bodies, "JSON_TIMEOUT", 0.05)
    with served.begin(
        'PUT /system/scale-function HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"na'
    ) as sock:
        reply = sock.makefile("rb").read()

    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"expected the rest of the body, got nothing for 0.05 s" in reply


def test_a_wrong_method_gets_the_allowed_methods(served: Served) -> None:
    answer = served.ask("PATCH", "/system/functions")

    assert answer.status == 405
    assert answer.json()["error"] == "MethodNotAllowed"
    assert answer.headers["allow"] == "GET, HEAD, POST, PUT"


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("/system/functionz", "/system/functions"),
        ("/system/functions/", "/system/functions"),
        ("/health", "/healthz"),
    ],
)
def test_an_unknown_path_gets_a_suggestion(served: Served, target: str, meant: str) -> None:
    answer = served.ask("GET", target)

    assert answer.status == 404
    assert answer.json()["error"] == "PathUnknown"
    assert f'(did you mean "{meant}"?)' in answer.json()["detail"]


# Calls without a route in Envoy


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("rest", ["", "/deeper/down?x=1"])
def test_a_call_of_an_unknown_function_gets_similar_names(
    served: Served, method: str, rest: str
) -> None:
    answer = served.ask(method, "/function/helo" + rest)

    assert answer.status == 404
    assert (answer.json()["error"], answer.json()["near"]) == ("FunctionNotFound", ["hello"])


def test_a_call_without_a_ready_replica_may_be_retried(served: Served) -> None:
    answer = served.ask("POST", "/function/hello", b"data")

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == "NotReady"


@pytest.mark.parametrize("name", ["..%2fsystem%2fkeys", "%2e%2e", "%00", "x" * 5000, "a%ff"])
def test_no_name_reaches_another_route(served: Served, name: str) -> None:
    answer = served.ask("GET", f"/function/{name}")

    ambiguous = name.startswith(("..", "%"))
    expected = (400, "BadRequest") if ambiguous else (404, "FunctionNotFound")
    assert (answer.status, answer.json()["error"]) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/system%2ffunctions",
        "/system%2Ffunctions",
        "/%73ystem/functions",
        "/system/function%73",
        "//system/functions",
        "/system//functions",
        "/system/functions//",
        "/./system/functions",
        "/function/../system/functions",
        "/function/%2e%2e/system/functions",
        "/%66unction/hello",
        "/function/hell%6F",
        "/function//hello",
        "/system;a=b/functions",
        "/system/functions;a=b",
        "/system/functions%3Ba=b",
        "/system\\functions",
        "/system%5cfunctions",
        "/system/functions%00",
        "/system/functions%0a",
        "/system/functions%",
        "/system/functions%zz",
        "/system/functions%253f",
        "/system/functions%3f",
        "/healthz/../system/functions",
    ],
)
def test_a_path_that_a_proxy_may_read_differently_is_rejected(served: Served, path: str) -> None:
    answer = served.ask("GET", path)

    assert (answer.status, answer.json()["error"]) == (400, "BadRequest")
    assert "expected a path in its plain form" in answer.json()["detail"]


@pytest.mark.parametrize("rest", ["/a%2Fb", "//a", "/a;b", "/%61", "/a%5Cb"])
def test_after_a_functions_name_a_path_may_have_any_form(served: Served, rest: str) -> None:
    answer = served.ask("GET", f"/function/helo{rest}")

    assert (answer.status, answer.json()["near"]) == (404, ["hello"])


def test_a_digest_may_be_percent_encoded(served: Served) -> None:
    file = BundleFile("src/handler.py", DIGEST, 4)
    served.ask("POST", "/system/uploads", upload([file], "a==1\n"))
    answer = served.ask("PUT", f"/system/blobs/{DIGEST.replace(':', '%3A')}", b"blob")

    assert answer.status == 200


# Uploads


def test_missing_blobs_are_listed_and_received(served: Served) -> None:
    file = BundleFile("src/handler.py", DIGEST, 4)
    announced = served.ask("POST", "/system/uploads", upload([file], "a==1\n")).json()
    first = served.ask("PUT", f"/system/blobs/{DIGEST}", b"bl")
    second = served.ask("PUT", f"/system/blobs/{DIGEST}?offset=2", b"ob")

    assert announced["bundle"] == Bundle((file,)).digest
    assert announced["lock"] == digest_of(b"a==1\n")
    assert [missing_blob_of(one).size for one in announced["missing"]] == [4]
    assert first.json() == {"offset": 2, "complete": False}
    assert second.json() == {"offset": 4, "complete": True}


def test_a_wrong_offset_gets_the_right_offset(served: Served) -> None:
    served.plane.blobs[DIGEST] = b"bl"
    answer = served.ask("PUT", f"/system/blobs/{DIGEST}?offset=9", b"x" * 10)

    assert (answer.status, answer.json()["error"]) == (409, "UploadInvalid")
    assert answer.json()["offset"] == 2


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"lock": ""}, "files: expected a list, got null"),
        ({"files": []}, "lock: expected text, got null"),
        (
            {"files": [["a", DIGEST, 1]], "lock": ""},
            "files[0]: expected a list of path, digest, size and executable",
        ),
        ({"files": [["a", DIGEST, True, True]], "lock": ""}, "files[0]: "),
        ({"files": [["a", DIGEST, 1.5, True]], "lock": ""}, "files[0]: "),
        ({"files": [["a", DIGEST, 1, 1]], "lock": ""}, "files[0]: "),
    ],
)
def test_an_invalid_announcement_is_rejected_with_the_place(
    served: Served, body: object, told: str
) -> None:
    answer = served.ask("POST", "/system/uploads", body)

    assert answer.status == 400
    assert told in answer.json()["detail"]


def test_a_part_of_a_blob_is_kept_when_its_sender_disconnects(served: Served) -> None:
    with served.begin(f"PUT /system/blobs/{DIGEST} HTTP/1.1\r\ncontent-length: 4\r\n\r\nbl"):
        assert served.plane.reached.wait(10)

    assert served.plane.closed.wait(10)
    assert served.plane.blobs[DIGEST] == b"bl"


def test_an_upload_whose_sender_stalls_is_aborted(served: Served, monkeypatch) -> None:
    monkeypatch.setattr(upload_routes, "BLOB_TIMEOUT", 0.05)
    head = f"PUT /system/blobs/{DIGEST} HTTP/1.1\r\ncontent-length: 4\r\n\r\nbl"
    with served.begin(head) as sock:
        reply = sock.makefile("rb").read()

    assert reply.startswith(b"HTTP/1.1 400 ")
    assert served.plane.blobs[DIGEST] == b"bl"


def test_an_error_without_a_status_of_its_own_has_its_parents_status(
    served: Served, monkeypatch
) -> None:
    async def info() -> None:
        raise GatewayError("broken")

    monkeypatch.setattr(served.plane, "info", info)

    assert served.ask("GET", "/system/info").status == 502


@pytest.mark.parametrize(
    "body",
    [
        b'{"\\ud800": 1}',
        b'{"name": "\\ud800", "replicas": 1}',
        b'{"name": "hello\\udfff", "replicas": 1}',
        b'{"name": "hello", "replicas": {"a": [["\\udc00\\ud83d"]]}}',
    ],
)
def test_half_of_a_character_is_a_bad_request(served: Served, body: bytes) -> None:
    answer = served.ask("PUT", "/system/scale-function", body)

    assert answer.status == 400
    assert "half of a character" in answer.json()["detail"]
