"""``function run`` and ``function build`` as a new user runs them, with valid and invalid input."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcf.cli.exit_codes import ExitCode

CLI = [sys.executable, "-m", "dcf.cli"]

CONFIG = "functions:\n  {name}:\n    runtime: python\n"

ECHO = "class Handler:\n    def __call__(self, req):\n        return req.input\n"


@pytest.fixture
def function(tmp_path: Path):
    """Create a function's folder from the source of a handler."""

    def make(source: str = ECHO, *, name: str = "mine", requirements: str = "", extra: str = ""):
        folder = tmp_path / name
        (folder / "src").mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(CONFIG.format(name=name) + extra)
        (folder / "requirements.txt").write_text(requirements)
        (folder / "src" / "handler.py").write_text(source)
        return folder

    return make


def test_in_a_pipe_standard_output_is_only_the_reply(dcf, function):
    body = bytes(range(256)) * 100
    result = dcf("function", "run", function(), input=body)
    assert (result.returncode, result.stdout) == (0, body)
    assert b"GPU: " in result.stderr


@pytest.mark.parametrize("body", [b"", b"x" * 200_000_000], ids=["empty", "200 MB"])
def test_a_body_may_have_any_size(dcf, function, body):
    folder = function("def Handler(req):\n    return str(len(req.input))\n")
    assert dcf("function", "run", folder, input=body).stdout == str(len(body)).encode()


def test_it_runs_inside_the_folder_and_in_its_parent(dcf, function):
    folder = function()
    inside = dcf("fn", "run", "mine", input=b"a", cwd=folder)
    unnamed = dcf("function", "run", input=b"b", cwd=folder)
    outside = dcf("function", "run", "mine", input=b"c", cwd=folder.parent)
    with_slash = dcf("function", "run", "mine/", input=b"d", cwd=folder.parent)
    with_config = dcf("function", "run", "-f", folder / "config.yaml", input=b"e")
    replies = [result.stdout for result in (inside, unnamed, outside, with_slash, with_config)]
    assert replies == [b"a", b"b", b"c", b"d", b"e"]


def test_input_and_reply_may_be_files(dcf, function, tmp_path):
    (tmp_path / "in").write_bytes(b"\x00\x01")
    reply = tmp_path / "out"
    result = dcf("function", "run", function(), "--input", tmp_path / "in", "--reply", reply)
    assert (result.returncode, result.stdout, reply.read_bytes()) == (0, b"", b"\x00\x01")


def test_a_failed_call_does_not_replace_the_reply_file(dcf, function, tmp_path):
    reply = tmp_path / "out"
    reply.write_text("before")
    broken = function("def Handler(req):\n    yield 'part'\n    raise OSError('x')\n")
    result = dcf("function", "run", broken, "--reply", reply)
    assert result.returncode == ExitCode.LOST
    assert reply.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_reply_to_a_full_device_does_not_replace_the_device(dcf, function):
    result = dcf("function", "run", function(), "--reply", "/dev/full", input=b"x")
    assert result.returncode == ExitCode.STORAGE
    assert b"No space left on device" in result.stderr
    assert Path("/dev/full").is_char_device()


def test_request_headers_reach_the_handler(dcf, function):
    folder = function("def Handler(req):\n    return req.headers['accept']\n")
    assert dcf("function", "run", folder, "-H", "Accept: image/png").stdout == b"image/png"
    wrong = dcf("function", "run", folder, "-H", "nothing")
    assert wrong.returncode == ExitCode.USAGE


def test_a_handler_that_cannot_start_does_not_wait_for_input(function, environment):
    process = subprocess.Popen(
        [*CLI, "function", "run", str(function("raise OSError('no model')"))],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
    )
    with process:
        assert process.wait(30) == ExitCode.START
        assert process.stderr is not None
        assert b"OSError: no model" in process.stderr.read()


def test_a_data_folder_that_cannot_be_created_is_a_storage_error(dcf, function):
    result = dcf("function", "run", function(), env={"DCF_DATA_DIR": "/proc/nothing"})
    assert result.returncode == ExitCode.STORAGE
    assert b"Traceback" not in result.stderr


def test_environment_and_secrets_reach_the_handler(dcf, function, tmp_path):
    folder = function(
        "import os\nfrom dcf import secret\n"
        "def Handler(req):\n"
        "    return {'a': os.environ['A'], 'b': os.environ['B'], 's': secret('token'),\n"
        "            'all': os.listdir(os.environ['DCF_SECRETS_DIR'])}\n",
        extra="    environment: {A: one}\n    environment_file: [more.env]\n    secrets: [token]\n",
    )
    (folder / "more.env").write_text("A=hidden\nB=two\n")
    secrets = tmp_path / "secrets"
    missing = dcf("function", "run", folder, env={"DCF_SECRETS_DIR": str(secrets)})
    assert missing.returncode == ExitCode.PROJECT
    assert f"'token' was not found: expected a file at {secrets}/token".encode() in missing.stderr
    secrets.mkdir()
    (secrets / "token").write_text("s3cret\n")
    (secrets / "other").write_text("not yours")
    result = dcf("function", "run", folder, env={"DCF_SECRETS_DIR": str(secrets)})
    assert json.loads(result.stdout) == {"a": "one", "b": "two", "s": "s3cret", "all": ["token"]}
    assert b"s3cret" not in result.stderr


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        (("class Handler:\n  def __init__(self):\n    raise OSError('no weights')\n"
         "  def __call__(self, r): pass"), ExitCode.START, "OSError: no weights"),
        ("class Handler\n", ExitCode.START, "SyntaxError"),
        ("import nothing_at_all", ExitCode.START, "No module named 'nothing_at_all'"),
        ("def other(req): pass", ExitCode.START, "handler.py has no Handler (found other)"),
        ("def Handler(req): return 1 / 0", ExitCode.CALL, "ZeroDivisionError: division by zero"),
        ("import sys\ndef Handler(req): sys.exit(5)", ExitCode.CALL, "called sys.exit(5)"),
        ("def Handler(req): return object()", ExitCode.CALL, "a value of type object"),
        ("import os\ndef Handler(req): os._exit(7)", ExitCode.LOST, "exit code 7"),
        ("import ctypes\ndef Handler(req): ctypes.string_at(0)", ExitCode.LOST, "SIGSEGV"),
        ("import os\nos._exit(7)", ExitCode.START, "ended before it was ready: exit code 7"),
        ("from dcf import Reply\ndef Handler(req): return Reply('no', status=400)",
         ExitCode.CALL, "returned status 400"),
    ],
)  # fmt: skip
def test_a_handler_that_fails_has_its_exit_code_and_message(dcf, function, source, code, says):
    begin = time.monotonic()
    folder = function(source)
    result = dcf("function", "run", folder, input=b"x")
    assert result.returncode == code
    assert says in result.stderr.decode()
    assert "dcf/cli" not in result.stderr.decode()
    assert "/workspaces/" not in result.stderr.decode() or "SIGSEGV" in says
    assert time.monotonic() - begin < 15


def test_the_traceback_names_the_authors_file(dcf, function):
    folder = function("def inner():\n    raise KeyError('k')\n\ndef Handler(req):\n    inner()\n")
    text = dcf("function", "run", folder).stderr.decode()
    assert f'File "{folder}/src/handler.py", line 5, in Handler' in text
    assert f'File "{folder}/src/handler.py", line 2, in inner' in text


def test_a_stream_that_fails_midway_shows_its_traceback(dcf, function):
    folder = function("def Handler(req):\n    yield b'part'\n    raise OSError('camera gone')\n")
    result = dcf("function", "run", folder)
    assert result.returncode == ExitCode.LOST
    assert result.stdout == b"part"
    assert b"OSError: camera gone" in result.stderr
    assert f'File "{folder}/src/handler.py", line 3'.encode() in result.stderr


def test_what_the_handler_prints_is_not_in_the_reply(dcf, function):
    folder = function("def Handler(req):\n    print('m' * 5_000_000)\n    return b'reply'\n")
    result = dcf("function", "run", folder)
    assert result.stdout == b"reply"
    assert b"m" * 5_000_000 in result.stderr


def test_a_call_that_exceeds_its_timeout_fails(dcf, function):
    folder = function("import time\ndef Handler(r): time.sleep(60)\n", extra="    timeout: 0.5\n")
    begin = time.monotonic()
    result = dcf("function", "run", folder)
    assert result.returncode == ExitCode.TIMEOUT
    assert time.monotonic() - begin < 15
    assert b"no reply within 0.5 s" in result.stderr


def test_a_constructor_that_exceeds_its_timeout_fails(dcf, function):
    folder = function("import time\ntime.sleep(60)\n")
    result = dcf("function", "run", folder, "--start-timeout", "0.7")
    assert result.returncode == ExitCode.TIMEOUT
    assert b"not ready within 0.7 s" in result.stderr


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, "has no config.yaml"),
        ("functions: [", "config.yaml:2:1: invalid YAML"),
        ("functions:\n  mine:\n    runtim: python\n", "config.yaml:3:5: "),
        ("functions:\n  mine:\n    runtime: go\n", "config.yaml:3:14: "),
        ("functions:\n  Mine:\n    runtime: python\n", "lower-case letter"),
        ("functions:\n  a:\n    runtime: python\n  b:\n    runtime: python\n", "a, b"),
        ("functions:\n  mine:\n    timeout: soon\n", "config.yaml:3:14: "),
    ],
)
def test_an_invalid_config_is_rejected(dcf, function, config, says):
    folder = function()
    (folder / "config.yaml").unlink()
    if config is not None:
        (folder / "config.yaml").write_text(config)
    result = dcf("function", "run", cwd=folder)
    assert result.returncode == ExitCode.PROJECT
    assert says in result.stderr.decode()


def test_an_unknown_function_is_rejected(dcf, function):
    folder = function()
    result = dcf("function", "run", "mina", cwd=folder)
    assert result.returncode == ExitCode.PROJECT
    assert b"Did you mean mine?" in result.stderr


def test_a_package_that_does_not_exist_fails_the_build(dcf, function):
    folder = function(requirements="no-such-package-of-this-name-at-all==1.0\n")
    result = dcf("function", "build", folder)
    assert result.returncode == ExitCode.BUILD
    assert b"no-such-package-of-this-name-at-all" in result.stderr


def test_pins_that_conflict_fail_the_build(dcf, function):
    folder = function(requirements="idna==3.7\nidna==3.6\n")
    result = dcf("function", "build", folder)
    assert result.returncode == ExitCode.BUILD
    assert b"idna==3.7" in result.stderr
    assert b"idna==3.6" in result.stderr


def test_a_pin_that_conflicts_with_the_watcher_fails_the_build(dcf, function):
    folder = function(requirements="uvicorn==0.20.0\n")
    result = dcf("function", "build", folder)
    assert result.returncode == ExitCode.BUILD
    assert b"uvicorn==0.20.0" in result.stderr
    assert b"dcf-runtime" in result.stderr


def test_without_network_and_cache_the_build_fails(dcf, function, tmp_path):
    folder = function(requirements="idna\n")
    nowhere = {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": "",
    }
    begin = time.monotonic()
    result = dcf("function", "run", folder, env=nowhere)
    assert result.returncode == ExitCode.NETWORK
    assert time.monotonic() - begin < 60


def test_a_deleted_lock_is_created_again(dcf, function):
    folder = function(requirements="six\n")
    lock = folder / "requirements.lock"
    assert dcf("function", "build", folder).returncode == 0
    lock.write_text(lock.read_text().replace("six==1.17.0", "six==1.16.0"))
    lock.unlink()
    again = dcf("function", "build", folder)
    assert b"lock: resolving 1 requirement" in again.stderr
    assert lock.exists()


def test_a_built_function_runs_without_a_network(dcf, function):
    folder = function(
        "import six\ndef Handler(req): return six.__version__\n", requirements="six==1.16.0\n"
    )
    assert dcf("function", "build", folder).returncode == 0
    offline = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    assert dcf("function", "run", folder, env=offline).stdout == b"1.16.0"
    assert dcf("function", "run", folder, "--offline").stdout == b"1.16.0"


def test_an_interpreter_that_cannot_be_found_fails_the_build(dcf, function):
    folder = function(extra='    python: "3.99"\n')
    result = dcf("function", "build", folder, "--offline")
    assert result.returncode == ExitCode.BUILD
    assert b"3.99" in result.stderr


def test_build_reports_its_steps_and_repeats_none(dcf, function):
    folder = function(extra="    build_options: [libgl1]\n    constraints: [gpu=yes]\n")
    first = dcf("function", "build", folder, "--json")
    second = dcf("function", "build", folder, "--json")
    before, after = json.loads(first.stdout), json.loads(second.stdout)
    assert (before.pop("fresh"), after.pop("fresh")) == (False, True)
    assert before == after
    assert before["function"] == "mine"
    assert b"build_options" in first.stderr
    assert b"constraints" in first.stderr
    assert b"unchanged" in second.stderr


def test_verbose_shows_the_output_of_the_tools(dcf, function):
    folder = function(requirements="iniconfig==2.0.0\n")
    assert b"+ iniconfig==2.0.0" in dcf("function", "build", folder, "-v").stderr


def test_a_changed_dockerfile_is_reported(dcf, function):
    folder = function()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    assert b"the changed Dockerfile acts only" in dcf("function", "build", folder).stderr


def test_limits_gpu_without_a_gpu_runs_on_the_cpu(dcf, function):
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    folder = function(extra='    limits: {gpu: "1"}\n')
    result = dcf("function", "run", folder, input=b"x")
    assert result.stdout == b"x"
    assert b"GPU: no NVIDIA GPU" in result.stderr
    assert b"Limit: gpu: none on this machine, runs on the CPU" in result.stderr
    needed = dcf("function", "run", folder, "--require-gpu", input=b"x")
    assert needed.returncode == ExitCode.GPU
    assert b"expected 1 free GPU(s), got 0 of 0 on this machine" in needed.stderr


def test_a_reader_that_closes_early_is_not_an_error(function, environment):
    folder = function("def Handler(req):\n    return b'y' * 50_000_000\n")
    script = f"{' '.join(CLI)} function run {folder} </dev/null 2>err | head -c 3; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", script],
        check=False,
        env=environment,
        cwd=folder,
        capture_output=True,
        timeout=60,
    )
    assert result.stdout == b"yyy0\n"
    assert b"Traceback" not in (folder / "err").read_bytes()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.TERMINATED),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_a_signal_leaves_no_process(function, environment, number, code, tmp_path):
    # The first holds the interpreter's lock in C, the second has child processes.
    folder = function(
        "import subprocess, re, pathlib\n"
        "def Handler(req):\n"
        "    subprocess.Popen(['sleep', '300'])\n"
        f"    pathlib.Path({str(tmp_path / 'busy')!r}).touch()\n"
        "    re.match(r'(a+)+$', 'a' * 40 + 'b')\n"
    )
    process = subprocess.Popen(
        [*CLI, "function", "run", str(folder)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(environment),
    )
    until = time.monotonic() + 60
    while not (tmp_path / "busy").exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(number)
    assert process.wait(15) == code


def test_a_terminal_shows_request_and_reply_with_labels(function, environment):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*CLI, "function", "run", str(function())],
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=terminal,
        env=dict(environment),
    )
    os.close(terminal)
    process.communicate(b"Hello\n", timeout=60)
    shown = b""
    while select.select([controller], [], [], 1.0)[0]:
        try:
            data = os.read(controller, 65536)
        except OSError:
            break
        shown += data
    os.close(controller)
    text = shown.decode().replace("\r\n", "\n")
    assert "Handler request: Hello\n" in text
    assert "Handler reply:\nHello\n" in text
    assert process.returncode == 0


def test_a_read_only_folder_runs(dcf, function, environment, tmp_path):
    folder = function(requirements="six==1.16.0\n")
    mounts = ["unshare", "-rm", "bash", "-c"]
    if subprocess.run([*mounts, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    script = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && "
    script += f"echo hi | {' '.join(CLI)} function run {folder}"
    result = subprocess.run(
        [*mounts, script], check=False, env=environment, capture_output=True, timeout=120, cwd="/"
    )
    assert result.stdout == b"hi\n", result.stderr
    assert not (folder / "requirements.lock").exists()
