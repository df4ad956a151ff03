"""The documents against the code: a table that is out of date fails here."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import click
import grpc
import pytest

import dcf.cli.exit_codes
import dcf.errors
from dcf.cli.commands import root
from dcf.cli.exit_codes import ExitCode
from dcf.cli.lazy import Lazy, LazyGroup
from dcf.client import address
from dcf.controlplane.grpc import server as grpc_server
from dcf.controlplane.metrics import Metrics, render
from dcf.function.secrets import SECRETS_DIR
from dcf.project.config import load_config
from dcf.project.fields import CONFIG
from dcf.project.init import init_function
from dcf.project.sections import FunctionMap, Section
from dcf.protocol.http import FUNCTION_PREFIX
from dcf.protocol.routes import ROUTES, AccessLevel
from dcf.protocol.status_codes import status_of
from dcf.rpc.gateway_messages import METHODS
from dcf.settings import (
    BridgeSettings,
    BuildSettings,
    ControlSettings,
    DataplaneSettings,
    Locations,
    StoreSettings,
    WatcherSettings,
)

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dcf"
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "README.ko.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.rglob("*.md")),
]
LONGEST_MODULE = 500


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table's rows."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| --- "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}$\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading!r}"
    return found.group(1)


@pytest.fixture(scope="module")
def cli_page() -> str:
    return (REFERENCE / "cli.md").read_text("utf-8")


# Commands


def commands(
    group: LazyGroup = root, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Lazy, click.Command]]:
    for name, lazy in group.lazy.items():
        command = lazy.load()
        yield (*path, name), lazy, command
        if isinstance(command, LazyGroup):
            yield from commands(command, (*path, name))


COMMANDS = [pytest.param(*found, id=" ".join(found[0])) for found in commands()]


@pytest.mark.parametrize(("path", "lazy", "command"), COMMANDS)
def test_a_commands_help_has_an_example(
    path: tuple[str, ...], lazy: Lazy, command: click.Command
) -> None:
    help_ = command.get_help(click.Context(command))

    assert re.search(r"Example:\n\s+(.*\| )?dcf-cli " + " ".join(path), help_)


@pytest.mark.parametrize(("path", "lazy", "command"), COMMANDS)
def test_a_commands_line_in_its_groups_help_is_how_its_own_help_begins(
    path: tuple[str, ...], lazy: Lazy, command: click.Command
) -> None:
    own = command.get_short_help_str(limit=1000)

    assert re.match(re.escape(lazy.help.rstrip(".")) + "[.,:]", own), own


@pytest.mark.parametrize(("path", "lazy", "command"), COMMANDS)
def test_a_command_its_arguments_and_its_options_are_on_their_page(
    path: tuple[str, ...], lazy: Lazy, command: click.Command, cli_page: str
) -> None:
    title = " ".join(("dcf-cli", *path, *_arguments(command)))
    described = section(cli_page, title)

    assert all(f"`{alias}`" in described for alias in lazy.aliases)
    if isinstance(command, LazyGroup):
        return
    assert re.search(rf"^\$ (.*\| )?dcf-cli {' '.join(path)}\b", described, re.MULTILINE)
    table = [cells[0] for cells in rows(described) if cells[0] != "option"]
    shown = [option for cell in table for option in re.findall(r"`(-[^`]+)`", cell)]
    ours = [name for one in command.params if isinstance(one, click.Option) for name in one.opts]
    assert sorted(shown) == sorted(ours)


def _arguments(command: click.Command) -> Iterator[str]:
    for one in command.params:
        if isinstance(one, click.Argument):
            name = (one.name or "").upper()
            yield name if one.required else f"[{name}]"


def test_the_page_has_no_command_that_is_none(cli_page: str) -> None:
    known = {" ".join(path) for path, _, _ in commands()}
    named = re.findall(r"^#+ dcf-cli ([a-z ]*[a-z])", cli_page, re.MULTILINE)

    assert set(named) == known


def test_the_table_of_exit_codes_is_that_of_the_code(cli_page: str) -> None:
    module = ast.parse(Path(str(dcf.cli.exit_codes.__file__)).read_text("utf-8"))
    body = next(one.body for one in module.body if isinstance(one, ast.ClassDef))
    told = {}
    for member, text in itertools.pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            told[ast.unparse(member.targets[0])] = ast.literal_eval(text.value)
    expected = [[str(code.value), f"`{code.name}`", told[code.name]] for code in ExitCode]

    assert list(rows(section(cli_page, "Exit codes")))[1:] == expected


# Settings


def test_every_variable_is_on_the_page(cli_page: str) -> None:
    ours = {
        prefix + field.name.upper()
        for prefix, settings in (("DCF_STORE_", StoreSettings), ("DCF_BUILD_", BuildSettings))
        for field in fields(settings)
    }
    ours |= {f"DCF_{field.name.upper()}_DIR" for field in fields(Locations)}
    ours |= {address.GATEWAY, address.TOKEN}
    listed = [cells[0].strip("`") for cells in rows(section(cli_page, "Environment variables"))]

    assert sorted(listed[1:]) == sorted(ours)


def test_every_setting_of_a_gateway_without_an_option_is_on_the_page_with_its_default(
    cli_page: str,
) -> None:
    listed = {
        cells[0].strip("`"): cells[1].strip("`")
        for cells in rows(section(cli_page, "Of a gateway"))
    }
    by_option = {"host", "port", "tls", "open", "cors", "certificate", "key", "allowed_hosts"}
    by_gateway = {"listen", "gateway"}
    sources = (
        ("DCF_CONTROL_", ControlSettings),
        ("DCF_BRIDGE_", BridgeSettings),
        ("DCF_ENVOY_", DataplaneSettings),
    )

    assert listed.pop("variable") == "unset"
    assert listed == {
        prefix + one.name.upper(): "1" if one.default is True else str(one.default)
        for prefix, settings in sources
        for one in fields(settings)
        if one.name not in by_option | by_gateway
    }


def test_every_setting_of_a_watcher_is_on_the_page_with_its_default(cli_page: str) -> None:
    listed = {
        cells[0].strip("`"): cells[1].strip("`")
        for cells in rows(section(cli_page, "Of a watcher"))
    }
    defaults = WatcherSettings().to_mapping()

    assert listed.pop("variable") == "unset"
    assert listed.pop(SECRETS_DIR) == ""
    assert listed == defaults
    assert len(defaults) == len(fields(WatcherSettings))


# The gateway


def test_every_route_is_on_the_page_and_no_other() -> None:
    page = (REFERENCE / "http.md").read_text("utf-8")
    shown = set(re.findall(r"`(GET|POST|PUT|DELETE) (/[^`?]+)", page))
    told = {
        (route.method, re.sub(r"\{(\w+)\}", lambda name: name[1].upper(), route.path))
        for route in ROUTES
        if not route.path.startswith(FUNCTION_PREFIX)
    }

    assert shown == told


def test_every_metric_is_on_the_page_and_no_other() -> None:
    page = (REFERENCE / "gateway.md").read_text("utf-8")
    listed = {cells[0].strip("`") for cells in rows(section(page, "Logs and metrics"))}
    told = re.findall(rb"^# TYPE (\w+)", render(Metrics()), re.MULTILINE)

    assert listed - {"metric"} == {name.decode() for name in told}


def test_every_method_of_grpc_is_on_its_page_with_what_it_wants() -> None:
    page = (REFERENCE / "grpc.md").read_text("utf-8")
    wants = {AccessLevel.KEY: "a key", AccessLevel.MANAGEMENT: "the token"}
    listed = {cells[0].strip("`"): cells[1:3] for cells in rows(section(page, "Methods"))}

    assert listed.pop("method") == ["request → reply", "needs"]
    assert listed == {
        name: [f"{asked} → {given}", wants[grpc_server.RULES[name]]]
        for name, (asked, given) in METHODS.items()
    }


def test_every_message_of_grpc_is_on_its_page_with_its_fields() -> None:
    page = (REFERENCE / "grpc.md").read_text("utf-8")
    proto = (DOCS / "gateway.proto").read_text("utf-8")
    listed = {cells[0]: cells[1] for cells in rows(section(page, "Messages"))}

    assert listed.pop("message") == "fields"
    assert listed == {
        name: ", ".join(f"`{line.strip()}`" for line in body.split(";")[:-1])
        for name, body in re.findall(r"message (\w+) \{(.*?)\}", proto, re.DOTALL)
    }


def test_every_status_of_grpc_is_on_its_page() -> None:
    page = (REFERENCE / "grpc.md").read_text("utf-8")
    numbers = {code.value[0]: code.name for code in grpc.StatusCode}
    told = {
        error: cells[0]
        for cells in rows(section(page, "Errors"))
        for error in re.findall(r"`(\w+)`", cells[-1])
        if error != "error"
    }

    assert len(told) > 15
    for error, status in told.items():
        assert numbers[status_of(getattr(dcf.errors, error)).grpc] == status, error


# config.yaml


def keys(part: Section, path: str = "") -> Iterator[str]:
    for one in part.fields:
        kind = one.kind
        if isinstance(kind, FunctionMap):
            yield one.name
            yield from keys(kind.function)
        elif isinstance(kind, Section):
            yield from keys(kind, f"{path}{one.name}.")
        else:
            yield path + one.name


def test_every_key_is_on_the_page_once_and_no_other() -> None:
    page = (REFERENCE / "config.md").read_text("utf-8")
    tables = section(page, "The file") + section(page, "A function")
    listed = [cells[0].strip("`") for cells in rows(tables) if cells[0] != "key"]

    assert sorted(listed) == sorted(keys(CONFIG))


@pytest.mark.parametrize("document", ["README.md", "README.ko.md"])
def test_the_config_that_the_readme_shows_holds(document: str, tmp_path: Path) -> None:
    text = (ROOT / document).read_text("utf-8")
    shown = re.search(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert shown
    place = tmp_path / "config.yaml"
    place.write_text(shown.group(1))

    spec = load_config(place).functions["shout"]

    assert (spec.python, spec.timeout, spec.limits.gpu) == ("3.12", 30.0, 1)
    assert (spec.environment, spec.secrets) == ({"GREETING": "Hello"}, ("api-key",))


def test_the_template_names_every_key_of_a_function(tmp_path: Path) -> None:
    made = init_function("hello", parent=tmp_path)
    text = (made.folder / "config.yaml").read_text("utf-8")

    missing = [key for key in keys(CONFIG) if not re.search(rf"\b{key.rpartition('.')[2]}\b", text)]
    assert missing == []


# ARCHITECTURE.md


def test_the_floors_are_drawn_as_they_are_linted() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")

    assert "\n".join(("```text", *layers, "```")) in page
    rooms = {room for layer in layers for room in layer.split(" | ") if not room.startswith("(")}
    described = {cells[0].strip("`") for cells in rows(section(page, "Floors"))} - {"room"}
    assert described == rooms


def test_every_file_that_is_named_is_there() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = set(re.findall(r"`([\w./-]+\.(?:py|in|md|toml|json))`", page))
    own = {"config.yaml"}
    homes = (ROOT, SOURCE, SOURCE / "watcher", SOURCE / "builder")

    assert [
        one for one in sorted(named - own) if not any((home / one).exists() for home in homes)
    ] == []


# All documents


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link or ("examples/" in link and not (ROOT / "examples").exists()):
            continue  # a source distribution has no examples
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)

    assert broken == []


def _anchors(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


# The code itself


def test_no_module_is_longer_than_anybody_reads() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in SOURCE.rglob("*.py")
    }

    assert len(lengths) > 50
    assert {name: count for name, count in lengths.items() if count > LONGEST_MODULE} == {}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("dcf", {"dcf.errors", "json", "asyncio"}),
        ("dcf.cli.main", {"yaml", "uv", "watchfiles", "pynvml", "asyncio"}),
    ],
)
def test_an_import_stays_light(module: str, heavy: set[str]) -> None:
    assert importlib.util.find_spec(module)
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, env=_bare()
    )

    assert heavy & set(done.stdout.split()) == set()


def _bare() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
