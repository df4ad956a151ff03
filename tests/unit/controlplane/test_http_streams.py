"""Replies that are sent line by line: deploys and logs."""

from __future__ import annotations

import asyncio
import json

import pytest

from dcf.controlplane.http import function_routes
from dcf.controlplane.http.replies import Feed
from dcf.errors import BlobsMissing, HandlerInitFailed
from dcf.protocol.gateway import JSON_LINES, line_of
from dcf.protocol.progress import Progress, ProgressKind
from unit.controlplane.http_kit import DEPLOYMENT, READY, Connection, Served, status

REVISION = Progress(ProgressKind.REVISION, number=3, is_new=True)
ENDLESS = Progress(ProgressKind.STARTED, step="endless", detail="never done")


def test_a_deploy_reports_each_step(served: Served) -> None:
    served.plane.steps = [REVISION, READY]
    answer = served.ask("POST", "/system/functions", DEPLOYMENT, accept=JSON_LINES)

    assert (answer.status, answer.headers["content-type"]) == (200, JSON_LINES)
    assert [Progress.from_line(line) for line in answer.body.splitlines()] == [REVISION, READY]
    assert served.plane.deployments[0].spec.name == "hello"


def test_a_deploy_that_fails_ends_with_its_problem(served: Served) -> None:
    served.plane.steps = [REVISION, HandlerInitFailed("no", traceback="Traceback ...")]
    answer = served.ask(
        "PUT", "/system/functions", DEPLOYMENT, accept=JSON_LINES, x_request_id="abc"
    )
    last = Progress.from_line(answer.body.splitlines()[-1])

    assert answer.status == 200
    assert last.kind is ProgressKind.FAILED
    assert last.problem["error"] == "HandlerInitFailed"
    assert (last.problem["traceback"], last.problem["status"]) == ("Traceback ...", 503)
    assert last.problem["request_id"] == "abc"


def test_an_internal_error_cuts_off_a_deploys_reply(served: Served, caplog) -> None:
    served.plane.steps = [REVISION, ZeroDivisionError()]
    with served.begin(_posted(JSON_LINES)) as sock:
        reply = sock.makefile("rb").read()

    assert b'"revision"' in reply
    assert not reply.endswith(b"0\r\n\r\n")
    assert "ZeroDivisionError" in caplog.text


def test_a_step_is_sent_at_once_and_pings_fill_the_pauses(served: Served, monkeypatch) -> None:
    monkeypatch.setattr(function_routes, "PING", 0.01)
    served.plane.steps = [ENDLESS]
    with served.begin(_posted(JSON_LINES)) as sock, sock.makefile("rb") as reply:
        lines = list(_lines(reply, 3))

    assert [line["kind"] for line in lines] == ["started", "ping", "ping"]
    assert served.plane.closed.wait(10)


@pytest.mark.parametrize("accept", [JSON_LINES, "*/*"])
def test_a_deploy_is_cancelled_when_its_client_disconnects(served: Served, accept: str) -> None:
    served.plane.steps = [ENDLESS]
    connection = served.begin(_posted(accept))
    assert served.plane.reached.wait(10)
    assert not served.plane.closed.is_set()
    connection.close()

    assert served.plane.closed.wait(10)


def test_without_lines_a_deploy_replies_with_the_function(served: Served) -> None:
    served.plane.steps = [REVISION, READY]
    ready = served.ask("POST", "/system/functions", DEPLOYMENT)
    served.plane.steps = [REVISION, Progress(ProgressKind.ACCEPTED, function=status("hello"))]
    accepted = served.ask("POST", "/system/functions", {**DEPLOYMENT, "wait": False})

    assert (ready.status, accepted.status) == (200, 202)
    assert ready.json()["name"] == "hello"
    assert [one.wait for one in served.plane.deployments] == [True, False]


def test_without_lines_a_failed_deploy_replies_with_its_problem(served: Served) -> None:
    served.plane.steps = [BlobsMissing("2 blobs are missing")]
    answer = served.ask("POST", "/system/functions", DEPLOYMENT)

    assert (answer.status, answer.json()["error"]) == (409, "BlobsMissing")


def test_an_invalid_deployment_is_rejected_before_the_deploy_begins(served: Served) -> None:
    answer = served.ask("POST", "/system/functions", {"spec": {}}, accept=JSON_LINES)

    assert (answer.status, answer.json()["error"]) == (400, "SpecInvalid")
    assert served.plane.deployments == []


# Logs


def test_a_log_is_text_or_lines_of_json(served: Served) -> None:
    text = served.ask("GET", "/system/function-log/hello?since=1.5&tail=9&replica=r1")
    lines = served.ask("GET", "/system/function-log/hello", accept=JSON_LINES)

    assert (
        text.body.decode()
        == "1970-01-01T00:00:01.500Z r1 eins\n1970-01-01T00:00:02.250Z r2 zwei?\n"
    )
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert [line_of(json.loads(one)).at for one in lines.body.splitlines()] == [1.5, 2.25]
    assert served.plane.asked == [(1.5, 9, False, "r1"), (0.0, None, False, "")]


def test_a_log_without_lines_is_empty(served: Served) -> None:
    served.plane.lines = []

    assert served.ask("GET", "/system/function-log/hello").body == b""


def test_a_missing_log_is_an_error(served: Served) -> None:
    assert served.ask("GET", "/system/function-log/helo").json()["error"] == "FunctionNotFound"
    gone = served.ask("GET", "/system/function-log/hello?replica=gone&follow=1")
    assert gone.json()["error"] == "ReplicaUnknown"


def test_a_followed_log_ends_when_its_reader_disconnects(served: Served) -> None:
    connection = Connection(served.path)
    headers = {"authorization": f"Bearer {served.tokens.management}"}
    connection.request("GET", "/system/function-log/hello?follow=1", headers=headers)
    reply = connection.getresponse()
    assert reply.readline().endswith(b"eins\n")
    assert not served.plane.closed.is_set()
    reply.close()
    connection.close()

    assert served.plane.closed.wait(10)


# The feed


def test_a_feed_loses_no_item_by_a_timeout() -> None:
    async def run() -> list[int]:
        gate = asyncio.Event()

        async def items():
            yield 1
            await gate.wait()
            yield 2

        feed, found = Feed(items()), []
        assert await feed.ready(10)
        found.append(feed.take())
        assert not await feed.ready(0)
        gate.set()
        assert await feed.ready(10)
        found.append(feed.take())
        assert await feed.ready(10)
        with pytest.raises(StopAsyncIteration):
            feed.take()
        await feed.close()
        return found

    assert asyncio.run(run()) == [1, 2]


def _posted(accept: str) -> str:
    body = json.dumps(DEPLOYMENT)
    return (
        f"POST /system/functions HTTP/1.1\r\naccept: {accept}\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    )


def _lines(reply, count: int):
    """Yield the first lines of JSON in a chunked reply."""
    for line in reply:
        if line.startswith(b"{"):
            yield json.loads(line)
            count -= 1
            if not count:
                return
