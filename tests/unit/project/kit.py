"""Helpers of the tests of config.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcf.errors import ConfigError
from dcf.model.function import FunctionSpec
from dcf.project.config import load_config


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def spec(folder: Path, body: str) -> FunctionSpec:
    return load_config(write(folder, f"functions: {{f: {body}}}\n")).functions["f"]


def problems(folder: Path, text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text))
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]
