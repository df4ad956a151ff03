from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dcf.errors import ConfigError
from dcf.project.config import load_config
from dcf.project.schema import json_schema, schema_text

ROOT = Path(__file__).parents[3]


def validator() -> Any:
    return jsonschema.Draft202012Validator(json_schema())


def is_loaded(path: Path) -> bool:
    try:
        load_config(path)
    except ConfigError:
        return False
    return True


def test_the_published_file_is_the_generated_one() -> None:
    published = (ROOT / "docs" / "config.schema.json").read_text(encoding="utf-8")

    assert published == schema_text(), "python -m dcf.project.schema > docs/config.schema.json"


def test_the_schema_is_one_and_describes_every_key() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    def visit(part: dict[str, Any]) -> None:
        for key, inner in part.get("properties", {}).items():
            assert inner["description"].endswith("."), key
            visit(inner)
        for inner in part.get("patternProperties", {}).values():
            visit(inner)
        if "properties" in part:
            assert part["additionalProperties"] is False

    visit(schema)


def function(*bodies: str) -> list[str]:
    return [f"functions: {{f: {body}}}" for body in bodies]


GOOD = [
    "functions: {f: }",
    "functions: {f: {}, g: {}}",
    "functions: {f: {}}\ndcf:",
    "functions: {f: {}}\ndcf: {gateway: 'localhost:32222'}",
    "functions: {f: {}}\ndcf: {gateway: 'https://gateway.example.com:443'}",
    "functions: {f: {}}\ndcf: {gateway: '[::1]:80'}",
    "functions: {f: {}}\ndcf: {gateway: ''}",
    *function(
        "{runtime: ''}",
        "{runtime: python, desc: text, maintainer: null}",
        "{handler: {dir: ., file: a-b.py, name: _Handler2}}",
        "{handler: {dir: src/..x/y, file: '', name: }}",
        "{limits: {memory: '', cpu: '', gpu: ''}, requests: }",
        "{limits: {memory: 512Mi, cpu: 500m, gpu: '1'}}",
        "{limits: {memory: 1000, cpu: 1.5, gpu: 0}}",
        "{limits: {memory: 1.5e+9, cpu: '.5', gpu: 1.0}}",
        "{build_args: [A=, B=c=d, PYTHON_VERSION=3.12, _x=1]}",
        "{build_args: [PYTHON_VERSION=]}",
        "{build_args: , build_options: [libgl1, g++]}",
        "{environment: {A: 1, B: x, C: true, D: , E: ''}}",
        "{environment_file: [a.env, /b/c.yaml], secrets: [a.key, ..b]}",
        "{constraints: [a == b], labels: {a.b/c: 1}}",
        "{python: '3.11'}",
        "{python: '3.13.1'}",
        "{timeout: 90, concurrency: 1, queue: 0}",
        "{timeout: 5m, concurrency: '4', queue: ''}",
        "{preflight: true}",
        "{preflight: off}",
        "{preflight: ''}",
        "{preflight: null}",
        "{scaling: }",
        "{scaling: {min: 0, max: 10, target: 0.5, idle: 90s}}",
        "{scaling: {min: '1', max: '', target: '20', idle: 300}}",
    ),
]
BAD = [
    "[]",
    "dcf: {}",
    "functions:",
    "functions: {}",
    "functions: []",
    "functions: {F: {}}",
    "functions: {f: x}",
    "functions: {f-: {}}",
    "functions: {f: {}}\nextra: 1",
    "functions: {f: {}}\ndcf: []",
    "functions: {f: {}}\ndcf: {gateway: host}",
    "functions: {f: {}}\ndcf: {gateway: 'host:0'}",
    "functions: {f: {}}\ndcf: {gateway: 'host:65536'}",
    "functions: {f: {}}\ndcf: {gate: 'host:1'}",
    *function(
        "{runtime: go}",
        "{runtime: stream}",
        "{runtime: 3}",
        "{desc: 5}",
        "{desc: [x]}",
        "{image: a b}",
        "{handler: Handler}",
        "{handler: {dir: ..}}",
        "{handler: {dir: a/..}}",
        "{handler: {dir: /a}}",
        "{handler: {file: a/b.py}}",
        "{handler: {file: .py}}",
        "{handler: {file: a.txt}}",
        "{handler: {name: a.b}}",
        "{handler: {class: X}}",
        "{limits: {memory: 512MB}}",
        "{limits: {memory: 0}}",
        "{limits: {memory: '0'}}",
        "{limits: {memory: '0.0Gi'}}",
        "{limits: {cpu: two}}",
        "{limits: {cpu: -1}}",
        "{limits: {gpu: 1.5}}",
        "{limits: {gpu: -1}}",
        "{limits: {gpu: all}}",
        "{limits: {disk: 1}}",
        "{build_args: A=b}",
        "{build_args: [A]}",
        "{build_args: ['']}",
        "{build_args: [1A=b]}",
        "{build_args: [PYTHON_VERSION=3.6]}",
        "{build_options: [a b]}",
        "{build_options: ['']}",
        "{build_options: [null]}",
        "{environment: {A: [1]}}",
        "{environment: {1A: x}}",
        "{environment: {DCF_A: x}}",
        "{environment: [A=1]}",
        '{environment: {A: "\\0"}}',
        "{environment_file: a.env}",
        "{secrets: [a/b]}",
        "{secrets: ['..']}",
        "{secrets: [.]}",
        "{labels: {'': x}}",
        "{python: 3.12}",
        "{python: '3.10'}",
        "{python: '3'}",
        "{timeout: 0}",
        "{timeout: soon}",
        "{concurrency: 0}",
        "{concurrency: '0'}",
        "{concurrency: 1.5}",
        "{queue: -1}",
        "{preflight: 1}",
        "{preflight: 'true'}",
        "{scaling: 3}",
        "{scaling: {minimum: 1}}",
        "{scaling: {min: -1}}",
        "{scaling: {min: 1.5}}",
        "{scaling: {min: 1001}}",
        "{scaling: {max: 0}}",
        "{scaling: {max: many}}",
        "{scaling: {target: 0}}",
        "{scaling: {target: [1]}}",
        "{scaling: {idle: 0.5}}",
        "{scaling: {idle: soon}}",
        "{scaling: {idle: true}}",
        "{runtme: python}",
    ),
]


@pytest.mark.parametrize(
    ("text", "verdict"), [*((text, "good") for text in GOOD), *((text, "bad") for text in BAD)]
)
def test_schema_and_validator_judge_alike(tmp_path: Path, text: str, verdict: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")

    assert ("good" if is_loaded(path) else "bad") == verdict
    assert ("good" if validator().is_valid(yaml.safe_load(text)) else "bad") == verdict
