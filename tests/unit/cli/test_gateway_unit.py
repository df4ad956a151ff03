import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from dcf.cli.gateway_unit import unit
from dcf.gateway.start_options import StartOptions


def printed(tmp_path: Path, *more: str) -> str:
    files = []
    for name in ("cert", "key"):
        path = tmp_path / f"{name} 100%.pem"
        path.touch()
        files += [f"--{name}", str(path)]
    done = CliRunner().invoke(unit, [*files, *more], env={"DCF_STATE_DIR": "/a b/$c"})
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_line_of_the_unit_is_that_of_the_options(tmp_path):
    text = printed(tmp_path, "--port", "8443", "--cors", "https://a.b,*")

    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    program, *arguments = shlex.split(line.removeprefix("ExecStart="))
    assert Path(program).is_absolute()
    assert arguments[:4] == ["-m", "dcf.cli", "gateway", "start"]
    given = dict(zip(arguments[4::2], arguments[5::2], strict=True))
    assert given == {
        "--host": "127.0.0.1",
        "--port": "8443",
        "--cert": f"{tmp_path}/cert 100%%.pem",
        "--key": f"{tmp_path}/key 100%%.pem",
        "--cors": "https://a.b,*",
    }
    assert 'Environment="DCF_STATE_DIR=/a b/$c"' in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_takes_the_unit(tmp_path):
    file = tmp_path / "dcf-gateway.service"
    file.write_text(printed(tmp_path, "--data-dir", str(tmp_path / "data")))
    done = subprocess.run(
        ["systemd-analyze", "verify", file],
        capture_output=True,
        text=True,
        check=False,
        env={"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_options_as_arguments_have_absolute_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    options = StartOptions("::1", 1, Path("data"), None, None, "")

    assert options.arguments() == [
        "--host", "::1", "--port", "1", "--data-dir", str(tmp_path / "data")
    ]  # fmt: skip


def test_hosts_that_are_allowed_are_in_the_unit(monkeypatch, tmp_path):
    monkeypatch.setenv("DCF_ALLOWED_HOSTS", " c.example, *.D.example. ,")
    text = printed(tmp_path, "--allow-host", "A.example,b", "--allow-host", "*")

    assert (
        "--allow-host a.example --allow-host b --allow-host * --allow-host c.example"
        " --allow-host *.d.example" in text.replace('"', "")
    )


def test_a_certificate_without_its_key_is_refused(tmp_path):
    (tmp_path / "cert").touch()
    done = CliRunner().invoke(unit, ["--cert", str(tmp_path / "cert")])

    assert done.exit_code == 2
    assert "--cert and --key must be given together" in done.output
