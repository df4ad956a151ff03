from __future__ import annotations

import time
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from dcf.errors import ConfigError
from dcf.model.function import FunctionSpec, HandlerRef, Resources
from dcf.model.scaling import ScalingWish
from dcf.project.config import load_config
from dcf.project.fields import FUNCTION
from dcf.project.kinds import OLDEST_PYTHON
from dcf.project.sections import Section

ROOT = Path(__file__).parents[3]

ORIGINAL = """\
functions:
  ssd-gpu:
    runtime: python
    desc: ""
    maintainer: ""
    handler:
      dir: ./src
      file: ""
      name: Handler
    docker_registry: registry.example.com:5001
    image: registry.example.com:5001/ssd-gpu
    limits:
      memory: ""
      cpu: ""
      gpu: "1"
    build_args:
    - CUDA_VERSION=9.0
    - CUDNN_VERSION=7.4.1.5
    - UBUNTU_VERSION=16.04
dcf:
  gateway: gateway.example.com:32222
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def spec(folder: Path, body: str) -> FunctionSpec:
    return load_config(write(folder, f"functions: {{f: {body}}}\n")).functions["f"]


def problems(folder: Path, text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text))
    return [(one.line, one.column, one.message) for one in caught.value.problems]


def test_a_file_of_the_original_loads_unchanged(tmp_path: Path) -> None:
    path = write(tmp_path, ORIGINAL)

    config = load_config(path)

    assert config.path == path
    assert config.gateway == "gateway.example.com:32222"
    assert config.functions == {
        "ssd-gpu": FunctionSpec(
            name="ssd-gpu",
            limits=Resources(gpu=1),
            docker_registry="registry.example.com:5001",
            image="registry.example.com:5001/ssd-gpu",
            build_args=(
                ("CUDA_VERSION", "9.0"),
                ("CUDNN_VERSION", "7.4.1.5"),
                ("UBUNTU_VERSION", "16.04"),
            ),
        )
    }


def test_unset_values_come_to_the_defaults(tmp_path: Path) -> None:
    names = [one.name for one in FUNCTION.fields]
    scalars = {"runtime", "desc", "maintainer", "docker_registry", "image", "python", "timeout"}
    body = "".join(f"    {name}: {chr(34) * 2 if name in scalars else ''}\n" for name in names)

    config = load_config(write(tmp_path, f"functions:\n  f:\n{body}  g:\ndcf:\n  gateway:\n"))

    assert config.functions == {"f": FunctionSpec("f"), "g": FunctionSpec("g")}
    assert config.gateway is None


def test_functions_keep_their_order(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "functions: {zeta: {}, alpha: {}, on: {}, no: {}}\n"))

    assert list(config.functions) == ["zeta", "alpha", "on", "no"]


def test_the_table_and_the_model_agree() -> None:
    model = {one.name: one for one in fields(FunctionSpec) if one.name != "name"}
    assert {one.name for one in FUNCTION.fields} == set(model)
    bare, handler = FunctionSpec("f"), HandlerRef()
    for one in FUNCTION.fields:
        if one.default is not None:
            assert one.default == getattr(bare, one.name)
        if one.name == "handler" and isinstance(one.kind, Section):
            assert {inner.name: inner.default for inner in one.kind.fields} == {
                inner.name: getattr(handler, inner.name) for inner in fields(HandlerRef)
            }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", ScalingWish()),
        ("{min: 0}", ScalingWish(0)),
        ("{min: 2, max: '5'}", ScalingWish(2, 5)),
        ("{target: 0.5, idle: 90s}", ScalingWish(target=0.5, idle=90.0)),
        ("{min: '', max: , target: 20, idle: 5}", ScalingWish(target=20.0, idle=5.0)),
    ],
)
def test_scaling(tmp_path: Path, body: str, expected: ScalingWish) -> None:
    assert spec(tmp_path, f"{{scaling: {body}}}").scaling == expected


@pytest.mark.parametrize(
    ("body", "column", "message"),
    [
        ("3", 26, "f.scaling: a number found, a mapping is wanted"),
        ("{max: 0}", 32, "a whole number from 1 on is wanted; to switch a function off: `dcf-cli"),
        ("{max: many}", 32, "a whole number from 1 on is wanted"),
        ("{min: 1001}", 32, "a whole number from 0 on is wanted: 1000 are the most"),
        ("{min: 3, max: 2}", 32, "f.scaling: min 3 is greater than max 2 (line 1)"),
        ("{target: 1000000}", 35, "a number of calls above 0 is wanted: 0.01 is the least, 100000"),
        ("{idle: 500ms}", 33, "a time such as 90s or 5m, is wanted: 1 s is the least, 720h"),
        ("{minimum: 1}", 27, "'minimum' is no key of scaling; did you mean 'min'?"),
    ],
)
def test_scaling_that_cannot_be_meant_is_told(
    tmp_path: Path, body: str, column: int, message: str
) -> None:
    (found,) = problems(tmp_path, f"functions: {{f: {{scaling: {body}}}}}\n")

    assert found[:2] == (1, column)
    assert message in found[2]


def test_the_oldest_python_is_the_projects_own() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["requires-python"]

    assert wanted == ">=" + ".".join(map(str, OLDEST_PYTHON))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512Mi", 512 * 2**20),
        ("'1G'", 10**9),
        ("128M", 128 * 10**6),
        ("1.5Gi", 1536 * 2**20),
        ("2E", 2 * 10**18),
        ("1e3", 1000),
        ("1.1G", 1_100_000_000),
        ("0.1", 1),
        ("134217728", 134217728),
        ("'134217728'", 134217728),
    ],
)
def test_memory(tmp_path: Path, text: str, expected: int) -> None:
    assert spec(tmp_path, f"{{limits: {{memory: {text}}}}}").limits.memory == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("500m", 0.5), ("'2'", 2.0), ("2", 2.0), ("0.5", 0.5), ("'.25'", 0.25)]
)
def test_cpu(tmp_path: Path, text: str, expected: float) -> None:
    assert spec(tmp_path, f"{{requests: {{cpu: {text}}}}}").requests.cpu == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90.0), ("'90'", 90.0), ("0.5", 0.5), ("90s", 90.0), ("5m", 300.0), ("1h", 3600.0)],
)
def test_timeout(tmp_path: Path, text: str, expected: float) -> None:
    assert spec(tmp_path, f"{{timeout: {text}}}").timeout == expected


def test_whole_numbers(tmp_path: Path) -> None:
    body = "{concurrency: 4, queue: 0, limits: {gpu: '2'}, requests: {gpu: 1.0}}"
    found = spec(tmp_path, body)

    assert (found.concurrency, found.queue) == (4, 0)
    assert (found.limits.gpu, found.requests.gpu) == (2, 1)
    assert isinstance(found.requests.gpu, int)


def test_environment_and_labels_keep_the_text_of_the_file(tmp_path: Path) -> None:
    body = "{ON: yes, RATE: 1.10, N: 0x1F, DAY: 2020-01-01, EMPTY: '', GONE: , EQ: =, T: 1:30}"
    found = spec(tmp_path, f"{{environment: {body}, labels: {{a/b: true}}}}")

    assert found.environment == {
        "ON": "yes",
        "RATE": "1.10",
        "N": "0x1F",
        "DAY": "2020-01-01",
        "EMPTY": "",
        "EQ": "=",
        "T": "1:30",
    }
    assert found.labels == {"a/b": "true"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{python: '3.12'}", "3.12"),
        ("{python: '3.11.9'}", "3.11.9"),
        ("{build_args: [PYTHON_VERSION=3.13]}", "3.13"),
        ("{python: '3.13', build_args: [PYTHON_VERSION=3.13]}", "3.13"),
        ("{python: '3.12', build_args: [PYTHON_VERSION=]}", "3.12"),
        ("{build_args: [PYTHON_VERSION=]}", None),
    ],
)
def test_the_interpreter_has_two_spellings(tmp_path: Path, body: str, expected: str | None) -> None:
    assert spec(tmp_path, body).python == expected


def test_lists(tmp_path: Path) -> None:
    found = spec(
        tmp_path,
        "{secrets: [key], environment_file: [../a.env, /etc/b.env], build_options: [libgl1], "
        "constraints: ['node.role == gpu'], build_args: [A=b=c]}",
    )

    assert found.secrets == ("key",)
    assert found.environment_file == ("../a.env", "/etc/b.env")
    assert found.build_options == ("libgl1",)
    assert found.constraints == ("node.role == gpu",)
    assert found.build_args == (("A", "b=c"),)


def test_anchors_aliases_and_merge_keys(tmp_path: Path) -> None:
    text = """\
functions:
  a: &base
    desc: first
    environment: &env {X: 1}
    limits: {gpu: 1}
  b:
    <<: *base
    desc: second
  c:
    environment: {<<: [*env, {X: 2, Y: 3}], Z: 4}
"""
    functions = load_config(write(tmp_path, text)).functions

    assert functions["b"].desc == "second"
    assert functions["b"].limits == Resources(gpu=1)
    assert functions["c"].environment == {"X": "1", "Y": "3", "Z": "4"}


def test_every_problem_is_told_at_once_in_the_files_order(tmp_path: Path) -> None:
    text = """\
functions:
  Hello: {}
  a:
    runtme: python
    limits:
      memory: 512m
    limits: {}
dfc: {}
"""
    assert [(line, column) for line, column, _ in problems(tmp_path, text)] == [
        (2, 3),
        (4, 5),
        (6, 15),
        (7, 5),
        (8, 1),
    ]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", (0, 0), ["empty", "'functions'"]),
        ("# nothing\n", (0, 0), ["empty"]),
        ("---\n", (0, 0), ["empty"]),
        ("- a\n", (1, 1), ["a list found", "a mapping is wanted"]),
        ("hello\n", (1, 1), ["a text found", "a mapping is wanted"]),
        ("dcf: {}\n", (1, 1), ["'functions' is missing"]),
        ("functions:\n", (1, 11), ["no function found"]),
        ("functions: {}\n", (1, 12), ["no function found"]),
        ("functions: []\n", (1, 12), ["a list found", "a mapping"]),
        ("runtime: python\nfunctions: {f: }\n", (1, 1), ["belongs under 'functions.NAME'"]),
        ("functions: {f: {}}\ndfc: {}\n", (2, 1), ["did you mean 'dcf'?", "functions, dcf"]),
        ("functions: {f: {}}\ndcf: {gatway: a:1}\n", (2, 7), ["did you mean 'gateway'?"]),
        ("functions: {f: {}}\ndcf: {gateway: host}\n", (2, 16), ["'host'", "host:port"]),
        ("functions: {f: {}}\ndcf: {gateway: 'h:70000'}\n", (2, 16), ["host:port"]),
        ("functions: {f: {}, f: {}}\n", (1, 20), ["'f'", "twice", "line 1"]),
        ("functions: {[a]: {}, f: {}}\n", (1, 13), ["a list found as a key"]),
        ("functions: {f: {}, <<: 3}\n", (1, 24), ["after '<<'"]),
        ("functions: !mine {f: {}}\n", (1, 12), ["a tag found", "a mapping is wanted"]),
    ],
)
def test_faults_of_the_file(
    tmp_path: Path, text: str, place: tuple[int, int], said: list[str]
) -> None:
    ((line, column, message),) = problems(tmp_path, text)

    assert (line, column) == place
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "runtime",
            "go",
            ["'go' was a runtime of the original; available here: python, streaming"],
        ),
        (
            "runtime",
            "Pyton",
            ["no runtime 'Pyton'", "available: python, streaming", "mean 'python'?"],
        ),
        ("runtime", "[x]", ["a list found"]),
        ("desc", "2020", ["the number 2020 found", 'write it in quotes: "2020"']),
        ("desc", "yes", ["the truth value yes found", "quotes"]),
        ("desc", '"a\\0b"', ["a text is wanted"]),
        ("maintainer", "{a: b}", ["a mapping found", "a text is wanted"]),
        ("image", "a b", ["the name of an image"]),
        ("handler", "{dir: ../x}", ["handler.dir", "'../x'", "no '..'"]),
        ("handler", "{dir: a/../../x}", ["no '..'"]),
        ("handler", "{dir: /x}", ["no '/' in front"]),
        ("handler", "{file: a/b.py}", ["handler.file", "without a folder"]),
        ("handler", "{file: handler}", ["a .py file"]),
        ("handler", "{name: 1a}", ["handler.name", "class or function"]),
        ("handler", "{nam: x}", ["did you mean 'name'?", "known: dir, file, name"]),
        ("handler", "Handler", ["a text found, a mapping is wanted"]),
        ("limits", "{memory: 512m}", ["thousandth", "512Mi or 512M"]),
        ("limits", "{memory: 512MB}", ["512Mi or 512M"]),
        ("limits", "{memory: 2g}", ["2Gi or 2G"]),
        ("limits", "{memory: much}", ["512Mi or 1G"]),
        ("limits", "{memory: 0}", ["the number 0"]),
        ("limits", "{memory: -1}", ["the number -1"]),
        ("limits", "{memory: 99E}", ["no machine"]),
        ("limits", "{memory: 1e99}", ["no machine"]),
        ("limits", "{memory: 1e999999999}", ["512Mi"]),
        ("limits", "{memory: .inf}", ["512Mi"]),
        ("limits", "{memory: true}", ["the truth value true"]),
        ("limits", "{cpu: 0.5m}", ["500m"]),
        ("limits", "{cpu: 0}", ["cores"]),
        ("limits", "{gpu: 1.5}", ["whole number of GPUs"]),
        ("limits", "{gpu: -1}", ["whole number of GPUs"]),
        ("limits", "{gpus: 1}", ["did you mean 'gpu'?"]),
        ("memory", "1G", ["belongs under 'limits' or 'requests'"]),
        ("requests", "{cpu: 2}\n    limits: {cpu: 1}", ["requests.cpu is more than limits.cpu"]),
        ("build_args", "[CUDA]", ["build_args[0]", "KEY=VALUE"]),
        ("build_args", "[3]", ["KEY=VALUE"]),
        ("build_args", "[A=1, A=2]", ["build_args[1]: A stands here twice"]),
        ("build_args", "[PYTHON_VERSION=3.6]", ["Python 3.6 is too old", "is 3.11"]),
        ("build_args", "[PYTHON_VERSION=x]", ["'x' is no version of Python"]),
        (
            "python",
            "'3.12'\n    build_args: [PYTHON_VERSION=3.11]",
            ["'3.12'", "PYTHON_VERSION", "(line 4)", "'3.11'", "keep one"],
        ),
        ("python", "3.10", ["the number 3.10 found", 'write it in quotes: "3.10"']),
        ("python", "3", ["write it in quotes"]),
        ("python", "'3.10'", ["too old", "3.11"]),
        ("python", "'2.7'", ["too old"]),
        ("python", "'3'", ["too old"]),
        ("python", "'4.0'", ["no version of Python", "3.11"]),
        ("python", "latest", ["no version of Python"]),
        ("build_options", "libgl1", ["a text found, a list is wanted"]),
        ("build_options", "[a b]", ["system package"]),
        ("build_options", "['']", ["nothing found"]),
        ("environment", "[A=1]", ["a list found, a mapping is wanted"]),
        ("environment", "{A: [1]}", ["environment.A", "a list found"]),
        ("environment", "{A: !mine 1}", ["the tag '!mine'"]),
        ("environment", "{1A: 1}", ["'1A'", "starts with no digit"]),
        ("environment", "{A-B: 1}", ["'A-B'"]),
        ("environment", "{DCF_LISTEN: 1}", ["'DCF_LISTEN'", "DCF_ are the framework's"]),
        ("environment", '{A: "\\0"}', ["zero character"]),
        ("environment_file", "[3]", ["quotes"]),
        ("secrets", "[../key]", ["secrets[0]", "without a folder"]),
        ("secrets", "[a/b]", ["without a folder"]),
        ("secrets", "['a\\b']", ["without a folder"]),
        ("secrets", "['..']", ["without a folder"]),
        ("secrets", "[[a]]", ["a list found"]),
        ("constraints", "{}", ["a mapping found, a list is wanted"]),
        ("labels", "{'': x}", ["cannot be empty"]),
        ("timeout", "0", ["above 0"]),
        ("timeout", "-5", ["above 0"]),
        ("timeout", "5 minutes", ["90s or 5m"]),
        ("timeout", ".nan", ["above 0"]),
        ("timeout", "1:30", ["the number 1:30"]),
        ("concurrency", "0", ["from 1 on"]),
        ("concurrency", "many", ["from 1 on"]),
        ("queue", "-1", ["from 0 on"]),
        ("queue", "1.5", ["from 0 on"]),
        ("preflight", "1", ["expected true or false"]),
        ("preflight", "'true'", ["expected true or false, got 'true'"]),
        ("preflight", "[]", ["expected true or false"]),
        ("runtme", "python", ["did you mean 'runtime'?", "known: runtime, desc"]),
    ],
)
def test_faults_of_a_function(tmp_path: Path, key: str, value: str, said: list[str]) -> None:
    ((line, column, message),) = problems(tmp_path, f"functions:\n  f:\n    {key}: {value}\n")

    assert line == 3
    assert column >= 5
    assert message.startswith("functions.f")
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    ("body", "hidden"),
    [
        ("{build_args: 'TOKEN=hunter2'}", "hunter2"),
        ("{build_args: ['1TOKEN=hunter2']}", "hunter2"),
        ("{environment: 'TOKEN=hunter2'}", "hunter2"),
        ("{environment: {TOKEN: !x hunter2}}", "hunter2"),
    ],
)
def test_what_may_be_a_credential_is_not_shown(tmp_path: Path, body: str, hidden: str) -> None:
    ((_, _, message),) = problems(tmp_path, f"functions: {{f: {body}}}\n")

    assert hidden not in message


def test_a_fault_behind_an_alias_is_told_once(tmp_path: Path) -> None:
    text = "functions:\n  a: &a {runtme: x}\n  b: *a\n  c: *a\n"

    places = {(line, column) for line, column, _ in problems(tmp_path, text)}

    assert places == {(2, 10)}


def test_a_small_file_loads_within_5_milliseconds(tmp_path: Path) -> None:
    path = write(tmp_path, ORIGINAL)
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        load_config(path)
        taken.append(time.perf_counter() - start)

    assert min(taken) < 0.005
