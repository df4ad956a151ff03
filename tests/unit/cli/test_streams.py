"""``function call --stream``, against a gateway that is scripted."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from dcf import errors
from dcf.cli.exit_codes import ExitCode
from unit.client.kit import Scripted, scripted
from unit.client.speaker import Speaker


@pytest.fixture
def server(home, monkeypatch) -> Iterator[Scripted]:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("DCF_GATEWAY", url)
    yield from scripted(listener, url)


def _shout(peer) -> None:
    speaker = Speaker(peer)
    for message in speaker.messages():
        assert isinstance(message, bytes)
        if message.startswith(b"bad"):
            speaker.fail(errors.BadRequest(f"{message.decode()} is not good"), final=False)
        else:
            speaker.send(message.upper())
    speaker.end()


def test_lines_go_in_and_out(dcf, server):
    server.play(_shout)
    done = dcf("function", "call", "shout", "--stream", input=b"one\n\ntwo\nthree")
    assert (done.code, done.out, done.err) == (0, b"ONE\n\nTWO\nTHREE\n", "")


def test_pieces_go_in_and_replies_come_out_as_they_are(dcf, server):
    server.play(_shout)
    done = dcf("function", "call", "shout", "--stream", "--frames", "raw:2", input=b"a\nb\nc")
    assert (done.code, done.out) == (0, b"A\nB\nC")


def test_files_for_both(dcf, server, home):
    (home / "in").write_bytes(b"a\nb\n")
    server.play(_shout)
    done = dcf("function", "call", "shout", "--stream", "--input", "in", "--reply", "out")
    assert (done.code, done.out, (home / "out").read_bytes()) == (0, b"", b"A\nB\n")
    missing = dcf("function", "call", "shout", "--stream", "--input", "nothing")
    assert missing.code == ExitCode.USAGE


def test_path_headers_and_time_are_passed_on(dcf, server):
    asked = []

    def conversation(peer):
        speaker = Speaker(peer)
        asked.append(speaker.request)
        speaker.end()

    server.play(conversation)
    given = ("--path", "?to=3", "-H", "X-Mine: 1", "--timeout", "2")
    assert dcf("function", "call", "shout", "--stream", *given).code == 0
    assert asked[0].path == "/function/shout?to=3"
    assert asked[0].headers["x-mine"] == "1"
    assert asked[0].headers["x-dcf-deadline-ms"] == "2000"


def test_an_error_of_one_message_is_told_and_is_the_exit_code_at_the_end(dcf, server):
    server.play(_shout)
    done = dcf("function", "call", "shout", "--stream", input=b"one\nbad\nbad too\ntwo\n")
    assert (done.code, done.out) == (ExitCode.CALL, b"ONE\nTWO\n")
    assert done.err.splitlines() == ["Error: bad is not good", "Error: bad too is not good"]


def test_an_error_that_ends_the_stream_comes_with_its_traceback(dcf, server, home):
    def conversation(peer):
        speaker = Speaker(peer)
        speaker.send(b"one")
        speaker.fail(errors.HandlerRaised("ValueError: no", "ValueError", "Traceback ..."))
        speaker.close(1011)

    def late(peer):
        Speaker(peer).fail(errors.DeadlineExceeded("there was no reply within 1 s"))
        peer.wait_for_end()

    server.play(conversation, late, conversation)
    done = dcf("function", "call", "shout", "--stream")
    assert (done.code, done.out) == (ExitCode.CALL, b"one\n")
    assert "Traceback ...\nError: ValueError: no" in done.err
    assert dcf("function", "call", "shout", "--stream").code == ExitCode.TIMEOUT
    (home / "out").write_text("before")
    assert dcf("function", "call", "shout", "--stream", "--reply", "out").code == ExitCode.CALL
    assert (home / "out").read_text() == "before"


def test_a_refusal_and_a_connection_that_breaks(dcf, server):
    def refused(peer):
        peer.request()
        peer.refuse(errors.FunctionNotFound("there is no shuot", ["shout"]))
        peer.wait_for_end()

    server.play(refused, Speaker)
    done = dcf("function", "call", "shuot", "--stream")
    assert done.code == ExitCode.PROJECT
    assert "Did you mean shout?" in done.err
    assert dcf("function", "call", "shout", "--stream").code == ExitCode.LOST


def test_pictures_that_are_none_are_a_wrong_command_line(dcf, server):
    server.play(lambda peer: Speaker(peer).wait_for_end())
    done = dcf("function", "call", "shout", "--stream", "--frames", "jpg", input=b"GIF89a")
    assert done.code == ExitCode.USAGE
    assert "the input has no JPEG picture" in done.err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--frames", "jpg"), "can only be used with --stream"),
        (("--stream", "--frames", "png"), "expected lines, jpg or raw:N with N bytes, got 'png'"),
        (("--stream", "--trace"), "cannot be used with --stream"),
        (("--stream", "--method", "PUT"), "cannot be used with --stream"),
    ],
)
def test_options_that_do_not_fit(dcf, home, given, says):
    done = dcf("function", "call", "shout", *given)
    assert done.code == ExitCode.USAGE
    assert says in done.err
