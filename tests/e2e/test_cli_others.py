"""The smaller commands, and what applies to all commands."""

import json
import subprocess

import pytest

from dcf.cli.commands import root
from dcf.cli.exit_codes import ExitCode
from dcf.version import __version__


def test_version_prints_the_version(dcf):
    assert dcf("version").stdout.decode() == f"dcf-cli {__version__}\n"
    assert dcf("--version").stdout.decode() == f"dcf-cli {__version__}\n"
    assert json.loads(dcf("version", "--json").stdout)["version"] == __version__


def test_runtime_list_prints_the_runtimes(dcf):
    lines = dcf("runtime", "list").stdout.decode().splitlines()
    assert lines[0].split() == ["Runtime", "Description"]
    assert lines[1].startswith("python ")
    rows = json.loads(dcf("runtime", "list", "--json").stdout)
    assert [row["runtime"] for row in rows] == ["python", "streaming"]


def test_schema_is_json(dcf):
    assert json.loads(dcf("schema").stdout)["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(dcf, shell):
    result = dcf("completion", shell)
    assert b"_DCF_CLI_COMPLETE" in result.stdout


def test_bash_completes_commands_and_names(dcf, tmp_path):
    (tmp_path / "config.yaml").write_text("functions:\n  alpha: {}\n  beta: {}\n")

    def complete(words: str, position: int) -> list[str]:
        variables = {"_DCF_CLI_COMPLETE": "bash_complete", "COMP_WORDS": words}
        result = dcf(env={**variables, "COMP_CWORD": str(position)}, cwd=tmp_path)
        return [line.partition(",")[2] for line in result.stdout.decode().splitlines()]

    assert complete("dcf-cli function se", 2) == ["serve"]
    assert complete("dcf-cli function run a", 3) == ["alpha"]


def test_no_command_shows_the_help(dcf):
    result = dcf()
    assert b"Commands:" in result.stdout + result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("function", "fly"), ("function", "run", "--no-such"), ("fn", "serve", "--port", "x")],
)
def test_a_wrong_command_line_is_a_usage_error(dcf, arguments):
    assert dcf(*arguments).returncode == ExitCode.USAGE


def test_every_command_has_help(dcf):
    context = root.make_context("dcf-cli", ["version"])
    for name in root.list_commands(context):
        assert dcf(name, "--help").returncode == 0


def test_init_does_not_overwrite(dcf, tmp_path):
    (tmp_path / "taken").write_text("mine")
    result = dcf("function", "init", "taken", cwd=tmp_path)
    assert result.returncode == ExitCode.PROJECT
    assert b"taken already exists; nothing was written" in result.stderr
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("Bad_Name",), "must start with a lower-case letter"),
        (("../up",), "must start with a lower-case letter"),
        (("x" * 64,), "expected at most 63 characters, got 64"),
        (("fine", "--runtime", "go"), "go"),
        (("fine", "-g", "nowhere"), "nowhere"),
    ],
)
def test_init_with_wrong_input_writes_nothing(dcf, tmp_path, arguments, says):
    result = dcf("function", "init", *arguments, cwd=tmp_path)
    assert result.returncode in {ExitCode.PROJECT, ExitCode.USAGE}
    assert says in result.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_prune_deletes_what_no_folder_needs(dcf, tmp_path):
    store = {"DCF_DATA_DIR": str(tmp_path / "data")}
    dcf("function", "init", "gone", cwd=tmp_path)
    assert dcf("function", "build", "gone", cwd=tmp_path, env=store).returncode == 0
    assert json.loads(dcf("prune", "--json", env=store).stdout) == []
    subprocess.run(["rm", "-r", str(tmp_path / "gone")], check=True)
    would = json.loads(dcf("prune", "--dry-run", "--json", env=store).stdout)
    assert {"environment", "bundle", "blob", "lock"} <= {item["kind"] for item in would}
    assert json.loads(dcf("prune", "--json", env=store).stdout) == would
    assert dcf("prune", env=store).stdout == b"0 B freed\n"
