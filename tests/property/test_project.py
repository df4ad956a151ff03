"""config.yaml and environment files are parsed, or rejected with the place of each mistake."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from dcf.client.address import parse
from dcf.errors import ConfigError, DcfError, InvalidName
from dcf.model.function import FunctionSpec
from dcf.model.names import NAME_PATTERN, check_name
from dcf.model.spec_json import spec_from_json, spec_to_json
from dcf.project import quantities
from dcf.project.config import Config, gateway_of, load_config
from dcf.project.fields import GATEWAY
from dcf.project.kinds import PYTHON_PATTERN, python_problem
from dcf.project.variables import read_environment
from property.trying import attempt

SCALARS = st.sampled_from(
    [
        *("", "~", "null", "true", "yes", "0", "1", "-1", "1.5", ".5", "1e3", "0x10", "1:30", "x"),
        *("512Mi", "1G", "9" * 18, "9" * 30, "1e99", "500m", "90s", "5m", "1h", ".inf", ".nan"),
        *("3.12", '"3.12"', '"3.9"', "'x'", '"', "'", "|\n  x", ">", "&a 1", "*a", "!!x y", "!t"),
        *("python", "streaming", "go", "handler.py", "../x", "/x", "src", "Handler", "localhost:1"),
        *("2026-01-01", "<<", "=", "%", "@", "`", "é", "\t", "\x07", "\x85", "\u2028", "x" * 70),
    ]
)
KEYS = st.sampled_from(
    [
        *("functions", "dcf", "gateway", "f", "g-1", "F", "runtime", "handler", "dir", "file"),
        *("name", "python", "timeout", "idle_timeout", "concurrency", "queue", "limits", "cpu"),
        *("requests", "memory", "gpu", "environment", "environment_file", "secrets", "labels"),
        *("scaling", "min", "max", "target", "idle", "build_args", "DCF_X", "A", "<<", "? x", ""),
    ]
)


def _mapping(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def indented(pairs: list[tuple[str, str]]) -> str:
        return "\n".join(
            f"{key}:\n" + "\n".join(f"  {line}" for line in value.splitlines())
            if "\n" in value
            else f"{key}: {value}"
            for key, value in pairs
        )

    return st.lists(st.tuples(KEYS, children), max_size=4).map(indented)


def _listing(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(children.filter(lambda text: "\n" not in text), max_size=3).map(
        lambda items: f"[{', '.join(items)}]"
    )


YAML = st.recursive(SCALARS, lambda inner: _mapping(inner) | _listing(inner), max_leaves=12)
BODIES = _mapping(YAML)
FILES = (
    BODIES.map(lambda body: "functions:\n  f:\n" + re.sub("(?m)^", "    ", body)).map(str.encode)
    | BODIES.map(str.encode)
    | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass"))
    | st.binary(max_size=60)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place: Path = tmp_path_factory.mktemp("project")
    return place


def check_problems(error: ConfigError) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.message
        assert problem.line >= 0
        assert problem.column >= 0


@example(b"\xef\xbb\xbf\xc3\xa9\xff")
@example(b"\xef\xbb\xbf\xff")
@example(b"%YAML 9.9\n---\na")
@example(b"a: &a [*a]")
@example(b"---\na\n---\nb")
@example(b"[" * 10_000)
@example(b"{? {a: b} : c}")
@given(FILES)
def test_a_config_file_is_parsed_or_rejected_with_its_places(folder, content) -> None:
    path = folder / "config.yaml"
    path.write_bytes(content)
    try:
        config = load_config(path)
    except ConfigError as error:
        check_problems(error)
    else:
        assert isinstance(config, Config)
        for name, spec in config.functions.items():
            assert check_name(name) == spec.name
            assert spec_from_json(spec_to_json(spec)) == spec
            json.loads(spec_to_json(spec))
    try:
        address = gateway_of(path)
    except ConfigError as error:
        check_problems(error)
    else:
        assert address is None or 0 < parse(address).port < 2**16


@given(FILES, st.sampled_from([".env", ".yml", ".yaml"]))
def test_an_environment_file_is_parsed_or_rejected_and_never_shown(folder, content, suffix) -> None:
    path = folder / f"variables{suffix}"
    path.write_bytes(content)
    try:
        result = read_environment(FunctionSpec("f", environment_file=(path.name,)), folder)
    except ConfigError as error:
        check_problems(error)
        return
    for name, value in result.items():
        assert re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)
        assert not name.startswith("DCF_")
        assert "\0" not in value


@given(
    st.dictionaries(
        st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True).filter(
            lambda name: not name.startswith("DCF_") and name != "export"
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"), max_size=20),
        min_size=2,
    )
)
def test_quoted_variables_are_unchanged(folder, variables) -> None:
    spec = FunctionSpec("f", environment_file=("back.env",))
    lines = [f'export {name} = "{value}"' for name, value in variables.items()]
    (folder / "back.env").write_bytes("\n".join(lines).encode())
    assert read_environment(spec, folder) == variables


@given(
    st.sampled_from(
        [
            (quantities.MEMORY_PATTERN, quantities.memory),
            (quantities.CPU_PATTERN, quantities.cpu),
            (quantities.WHOLE_PATTERN, quantities.whole),
            (quantities.WHOLE_PATTERN, quantities.replicas),
            (quantities.DURATION_PATTERN, quantities.seconds),
            (quantities.DURATION_PATTERN, quantities.idle),
            (quantities.NUMBER_PATTERN, quantities.target),
        ]
    ).flatmap(
        lambda kind: st.tuples(st.from_regex(f"({kind[0]})", fullmatch=True), st.just(kind[1]))
    )
)
def test_a_valid_amount_is_not_negative(amount) -> None:
    text, parsed = amount
    value, refusal = attempt(ValueError, lambda: parsed(text))
    if value is None:
        assert str(refusal)
        assert parsed not in {quantities.cpu, quantities.whole, quantities.seconds}
    else:
        assert 0 <= value < float("inf")


@given(st.text(max_size=12) | st.from_regex(r"[0-9.]{1,9} ?[a-zA-Z]{0,4}", fullmatch=True))
def test_a_hint_about_memory_is_a_valid_amount(text) -> None:
    hint = quantities.memory_hint(text)
    for written in re.findall(r"[0-9.]+[KkMGTPEi]+", hint.partition("write")[2]):
        number = written.rstrip("KkMGTPEi")
        if re.fullmatch(quantities.NUMBER_PATTERN, number):
            assert re.fullmatch(quantities.MEMORY_PATTERN, written)


@given(st.from_regex(GATEWAY.pattern, fullmatch=True))
def test_a_gateway_in_a_config_file_is_an_address(text) -> None:
    address, refusal = attempt(DcfError, lambda: parse(text))
    if address is None:
        assert text in str(refusal)
    else:
        assert 0 < address.port < 2**16


@given(st.text(max_size=70) | st.from_regex(NAME_PATTERN, fullmatch=True))
def test_a_name_is_valid_or_rejected(text) -> None:
    name, refusal = attempt(InvalidName, lambda: check_name(text))
    assert (name == text) == bool(re.fullmatch(NAME_PATTERN, text))
    assert (name is None) == (refusal is not None and refusal.name == text)


@given(st.text(max_size=12) | st.from_regex(PYTHON_PATTERN, fullmatch=True))
def test_a_python_version_is_valid_or_rejected(text) -> None:
    assert (python_problem(text) == "") == bool(re.fullmatch(PYTHON_PATTERN, text))


@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=9)))
def test_yaml_is_parsed_to_what_was_written(folder, labels) -> None:
    path = folder / "labels.yaml"
    document = {"functions": {"f": {"runtime": "python", "labels": labels}}}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    config, refusal = attempt(ConfigError, lambda: load_config(path))
    if config is None:
        assert any("\0" in value for value in labels.values()), refusal
    else:
        assert dict(config.functions["f"].labels) == labels
