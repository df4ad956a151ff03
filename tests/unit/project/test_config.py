from __future__ import annotations

import time
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from dcf.model.function import FunctionSpec, HandlerRef, Resources
from dcf.model.scaling import ScalingSpec
from dcf.project.config import load_config
from dcf.project.fields import FUNCTION
from dcf.project.kinds import OLDEST_PYTHON
from dcf.project.sections import Section
from unit.project.kit import problems, spec, write

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
    names = [field.name for field in FUNCTION.fields]
    scalars = {"runtime", "desc", "maintainer", "docker_registry", "image", "python", "timeout"}
    body = "".join(f"    {name}: {chr(34) * 2 if name in scalars else ''}\n" for name in names)

    config = load_config(write(tmp_path, f"functions:\n  f:\n{body}  g:\ndcf:\n  gateway:\n"))

    assert config.functions == {"f": FunctionSpec("f"), "g": FunctionSpec("g")}
    assert config.gateway is None


def test_functions_keep_their_order(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "functions: {zeta: {}, alpha: {}, on: {}, no: {}}\n"))

    assert list(config.functions) == ["zeta", "alpha", "on", "no"]


def test_the_table_and_the_model_agree() -> None:
    model = {field.name for field in fields(FunctionSpec)} - {"name"}
    assert {field.name for field in FUNCTION.fields} == model
    bare, handler = FunctionSpec("f"), HandlerRef()
    for field in FUNCTION.fields:
        if field.default is not None:
            assert field.default == getattr(bare, field.name)
        if field.name == "handler" and isinstance(field.kind, Section):
            assert {inner.name: inner.default for inner in field.kind.fields} == {
                inner.name: getattr(handler, inner.name) for inner in fields(HandlerRef)
            }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", ScalingSpec()),
        ("{min: 0}", ScalingSpec(0)),
        ("{min: 2, max: '5'}", ScalingSpec(2, 5)),
        ("{target: 0.5, idle: 90s}", ScalingSpec(target=0.5, idle=90.0)),
        ("{min: '', max: , target: 20, idle: 5}", ScalingSpec(target=20.0, idle=5.0)),
    ],
)
def test_scaling(tmp_path: Path, body: str, expected: ScalingSpec) -> None:
    assert spec(tmp_path, f"{{scaling: {body}}}").scaling == expected


@pytest.mark.parametrize(
    ("body", "column", "message"),
    [
        ("3", 26, "functions.f.scaling: expected a mapping, got a number"),
        (
            "{max: 0}",
            32,
            "max: expected a whole number, 1 or more, got the number 0; to stop a function, run `dcf-cli",
        ),
        (
            "{max: many}",
            32,
            "functions.f.scaling.max: expected a whole number, 1 or more, got 'many'",
        ),
        (
            "{min: 1001}",
            32,
            "expected a whole number, 0 or more, got the number 1001; the maximum is 1000",
        ),
        ("{min: 3, max: 2}", 32, "f.scaling: min 3 is greater than max 2 (line 1)"),
        (
            "{target: 1000000}",
            35,
            "expected a number of calls above 0, got the number 1000000; the range is 0.01 to 100000",
        ),
        (
            "{idle: 500ms}",
            33,
            "expected seconds or a duration such as 90s, got '500ms'; the range is 1s to 720h",
        ),
        (
            "{minimum: 1}",
            27,
            "scaling: unknown key 'minimum' (did you mean 'min'?); known keys: min, max, target, idle",
        ),
    ],
)
def test_scaling_that_cannot_be_meant_is_told(
    tmp_path: Path, body: str, column: int, message: str
) -> None:
    ((*place, said),) = problems(tmp_path, f"functions: {{f: {{scaling: {body}}}}}\n")

    assert place == [1, column]
    assert message in said


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
    loaded = spec(tmp_path, body)

    assert (loaded.concurrency, loaded.queue) == (4, 0)
    assert (loaded.limits.gpu, loaded.requests.gpu) == (2, 1)
    assert isinstance(loaded.requests.gpu, int)


def test_environment_and_labels_keep_the_text_of_the_file(tmp_path: Path) -> None:
    body = "{ON: yes, RATE: 1.10, N: 0x1F, DAY: 2020-01-01, EMPTY: '', GONE: , EQ: =, T: 1:30}"
    loaded = spec(tmp_path, f"{{environment: {body}, labels: {{a/b: true}}}}")

    assert loaded.environment == {
        "ON": "yes",
        "RATE": "1.10",
        "N": "0x1F",
        "DAY": "2020-01-01",
        "EMPTY": "",
        "EQ": "=",
        "T": "1:30",
    }
    assert loaded.labels == {"a/b": "true"}


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
    loaded = spec(
        tmp_path,
        "{secrets: [key], environment_file: [../a.env, /etc/b.env], build_options: [libgl1], "
        "constraints: ['node.role == gpu'], build_args: [A=b=c]}",
    )

    assert loaded.secrets == ("key",)
    assert loaded.environment_file == ("../a.env", "/etc/b.env")
    assert loaded.build_options == ("libgl1",)
    assert loaded.constraints == ("node.role == gpu",)
    assert loaded.build_args == (("A", "b=c"),)


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


def test_a_small_file_loads_within_5_milliseconds(tmp_path: Path) -> None:
    path = write(tmp_path, ORIGINAL)
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        load_config(path)
        taken.append(time.perf_counter() - start)

    assert min(taken) < 0.005
