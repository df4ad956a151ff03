"""``function run`` and ``function build`` as a stranger uses them, wrong input included."""

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
    """Makes a function's folder from a handler's source."""

    def make(source: str = ECHO, *, name: str = "mine", requirements: str = "", extra: str = ""):
        folder = tmp_path / name
        (folder / "src").mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(CONFIG.format(name=name) + extra)
        (folder / "requirements.txt").write_text(requirements)
        (folder / "src" / "handler.py").write_text(source)
        return folder

    return make


def test_in_a_pipe_standard_output_is_the_reply_alone(dcf, function):
    body = bytes(range(256)) * 100
    done = dcf("function", "run", function(), input=body)
    assert (done.returncode, done.stdout) == (0, body)
    assert b"GPU: " in done.stderr


@pytest.mark.parametrize("body", [b"", b"x" * 200_000_000], ids=["empty", "200 MB"])
def test_bodies_of_any_size(dcf, function, body):
    folder = function("def Handler(req):\n    return str(len(req.input))\n")
    assert dcf("function", "run", folder, input=body).stdout == str(len(body)).encode()


def test_from_inside_the_folder_and_from_its_parent(dcf, function):
    folder = function()
    inside = dcf("fn", "run", "mine", input=b"a", cwd=folder)
    unnamed = dcf("function", "run", input=b"b", cwd=folder)
    outside = dcf("function", "run", "mine", input=b"c", cwd=folder.parent)
    with_slash = dcf("function", "run", "mine/", input=b"d", cwd=folder.parent)
    given = dcf("function", "run", "-f", folder / "config.yaml", input=b"e")
    found = [done.stdout for done in (inside, unnamed, outside, with_slash, given)]
    assert found == [b"a", b"b", b"c", b"d", b"e"]


def test_input_and_reply_files(dcf, function, tmp_path):
    (tmp_path / "in").write_bytes(b"\x00\x01")
    reply = tmp_path / "out"
    done = dcf("function", "run", function(), "--input", tmp_path / "in", "--reply", reply)
    assert (done.returncode, done.stdout, reply.read_bytes()) == (0, b"", b"\x00\x01")


def test_a_reply_that_fails_replaces_no_file(dcf, function, tmp_path):
    reply = tmp_path / "out"
    reply.write_text("before")
    broken = function("def Handler(req):\n    yield 'part'\n    raise OSError('x')\n")
    done = dcf("function", "run", broken, "--reply", reply)
    assert done.returncode == ExitCode.LOST
    assert reply.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_reply_to_a_full_device_leaves_the_device_alone(dcf, function):
    done = dcf("function", "run", function(), "--reply", "/dev/full", input=b"x")
    assert done.returncode == ExitCode.STORAGE
    assert b"No space left on device" in done.stderr
    assert Path("/dev/full").is_char_device()


def test_request_headers(dcf, function):
    folder = function("def Handler(req):\n    return req.headers['accept']\n")
    assert dcf("function", "run", folder, "-H", "Accept: image/png").stdout == b"image/png"
    wrong = dcf("function", "run", folder, "-H", "nothing")
    assert wrong.returncode == ExitCode.USAGE


def test_a_handler_that_cannot_start_waits_for_no_input(function, environment):
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


def test_a_data_folder_that_cannot_be_made(dcf, function):
    done = dcf("function", "run", function(), env={"DCF_DATA_DIR": "/proc/nothing"})
    assert done.returncode == ExitCode.STORAGE
    assert b"Traceback" not in done.stderr


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
    done = dcf("function", "run", folder, env={"DCF_SECRETS_DIR": str(secrets)})
    assert json.loads(done.stdout) == {"a": "one", "b": "two", "s": "s3cret", "all": ["token"]}
    assert b"s3cret" not in done.stderr


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
def test_a_handler_that_fails(dcf, function, source, code, says):
    begin = time.monotonic()
    folder = function(source)
    done = dcf("function", "run", folder, input=b"x")
    assert done.returncode == code
    assert says in done.stderr.decode()
    assert "dcf/cli" not in done.stderr.decode()
    assert "/workspaces/" not in done.stderr.decode() or "SIGSEGV" in says
    assert time.monotonic() - begin < 15


def test_the_traceback_names_the_authors_file(dcf, function):
    folder = function("def inner():\n    raise KeyError('k')\n\ndef Handler(req):\n    inner()\n")
    text = dcf("function", "run", folder).stderr.decode()
    assert f'File "{folder}/src/handler.py", line 5, in Handler' in text
    assert f'File "{folder}/src/handler.py", line 2, in inner' in text


def test_a_stream_that_fails_in_the_middle_shows_its_traceback(dcf, function):
    folder = function("def Handler(req):\n    yield b'part'\n    raise OSError('camera gone')\n")
    done = dcf("function", "run", folder)
    assert done.returncode == ExitCode.LOST
    assert done.stdout == b"part"
    assert b"OSError: camera gone" in done.stderr
    assert f'File "{folder}/src/handler.py", line 3'.encode() in done.stderr


def test_what_the_handler_prints_is_not_in_the_reply(dcf, function):
    folder = function("def Handler(req):\n    print('m' * 5_000_000)\n    return b'reply'\n")
    done = dcf("function", "run", folder)
    assert done.stdout == b"reply"
    assert b"m" * 5_000_000 in done.stderr


def test_a_call_over_its_timeout(dcf, function):
    folder = function("import time\ndef Handler(r): time.sleep(60)\n", extra="    timeout: 0.5\n")
    begin = time.monotonic()
    done = dcf("function", "run", folder)
    assert done.returncode == ExitCode.TIMEOUT
    assert time.monotonic() - begin < 15
    assert b"no reply within 0.5 s" in done.stderr


def test_a_constructor_over_its_timeout(dcf, function):
    folder = function("import time\ntime.sleep(60)\n")
    done = dcf("function", "run", folder, "--start-timeout", "0.7")
    assert done.returncode == ExitCode.TIMEOUT
    assert b"not ready within 0.7 s" in done.stderr


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
def test_a_config_that_cannot_be_used(dcf, function, config, says):
    folder = function()
    (folder / "config.yaml").unlink()
    if config is not None:
        (folder / "config.yaml").write_text(config)
    done = dcf("function", "run", cwd=folder)
    assert done.returncode == ExitCode.PROJECT
    assert says in done.stderr.decode()


def test_no_function_of_that_name(dcf, function):
    folder = function()
    done = dcf("function", "run", "mina", cwd=folder)
    assert done.returncode == ExitCode.PROJECT
    assert b"Did you mean mine?" in done.stderr


def test_a_package_that_does_not_exist(dcf, function):
    folder = function(requirements="no-such-package-of-this-name-at-all==1.0\n")
    done = dcf("function", "build", folder)
    assert done.returncode == ExitCode.BUILD
    assert b"no-such-package-of-this-name-at-all" in done.stderr


def test_pins_that_exclude_one_another(dcf, function):
    folder = function(requirements="idna==3.7\nidna==3.6\n")
    done = dcf("function", "build", folder)
    assert done.returncode == ExitCode.BUILD
    assert b"idna==3.7" in done.stderr
    assert b"idna==3.6" in done.stderr


def test_a_pin_that_excludes_the_watchers_own(dcf, function):
    folder = function(requirements="uvicorn==0.20.0\n")
    done = dcf("function", "build", folder)
    assert done.returncode == ExitCode.BUILD
    assert b"uvicorn==0.20.0" in done.stderr
    assert b"dcf-runtime" in done.stderr


def test_no_network_and_a_cold_cache(dcf, function, tmp_path):
    folder = function(requirements="idna\n")
    nowhere = {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": "",
    }
    begin = time.monotonic()
    done = dcf("function", "run", folder, env=nowhere)
    assert done.returncode == ExitCode.NETWORK
    assert time.monotonic() - begin < 60


def test_a_deleted_lock_is_made_anew(dcf, function):
    folder = function(requirements="six\n")
    lock = folder / "requirements.lock"
    assert dcf("function", "build", folder).returncode == 0
    lock.write_text(lock.read_text().replace("six==1.17.0", "six==1.16.0"))
    lock.unlink()
    again = dcf("function", "build", folder)
    assert b"lock: resolving 1 requirement" in again.stderr
    assert lock.exists()


def test_built_once_it_runs_without_a_network(dcf, function):
    folder = function(
        "import six\ndef Handler(req): return six.__version__\n", requirements="six==1.16.0\n"
    )
    assert dcf("function", "build", folder).returncode == 0
    offline = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    assert dcf("function", "run", folder, env=offline).stdout == b"1.16.0"
    assert dcf("function", "run", folder, "--offline").stdout == b"1.16.0"


def test_an_interpreter_that_is_not_to_be_had(dcf, function):
    folder = function(extra='    python: "3.99"\n')
    done = dcf("function", "build", folder, "--offline")
    assert done.returncode == ExitCode.BUILD
    assert b"3.99" in done.stderr


def test_build_tells_what_it_did_and_does_nothing_twice(dcf, function):
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


def test_verbose_shows_the_tools_own_output(dcf, function):
    folder = function(requirements="iniconfig==2.0.0\n")
    assert b"+ iniconfig==2.0.0" in dcf("function", "build", folder, "-v").stderr


def test_a_changed_dockerfile_is_told(dcf, function):
    folder = function()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    assert b"the changed Dockerfile acts only" in dcf("function", "build", folder).stderr


def test_limits_gpu_without_a_gpu_runs_on_the_cpu(dcf, function):
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    folder = function(extra='    limits: {gpu: "1"}\n')
    done = dcf("function", "run", folder, input=b"x")
    assert done.stdout == b"x"
    assert b"GPU: no NVIDIA GPU" in done.stderr
    assert b"Limit: gpu: none on this machine, runs on the CPU" in done.stderr
    needed = dcf("function", "run", folder, "--require-gpu", input=b"x")
    assert needed.returncode == ExitCode.GPU
    assert b"expected 1 free GPU(s), got 0 of 0 on this machine" in needed.stderr


def test_a_reader_that_has_enough_is_no_error(function, environment):
    folder = function("def Handler(req):\n    return b'y' * 50_000_000\n")
    script = f"{' '.join(CLI)} function run {folder} </dev/null 2>err | head -c 3; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        env=environment,
        cwd=folder,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == b"yyy0\n"
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
    # One that holds the interpreter's lock in C, and one that has children of its own.
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


def test_on_a_terminal_request_and_reply_are_labelled(function, environment):
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


def test_a_read_only_folder_runs_all_the_same(dcf, function, environment, tmp_path):
    folder = function(requirements="six==1.16.0\n")
    mounts = ["unshare", "-rm", "bash", "-c"]
    if subprocess.run([*mounts, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    script = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && "
    script += f"echo hi | {' '.join(CLI)} function run {folder}"
    done = subprocess.run(
        [*mounts, script], check=False, env=environment, capture_output=True, timeout=120, cwd="/"
    )
    assert done.stdout == b"hi\n", done.stderr
    assert not (folder / "requirements.lock").exists()
