"""Resolves a function's environment variables and secrets, as config.yaml names them.

The files may hold secrets, so no message shows their content. A message has the place of the
problem and the rule that it breaks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from yaml import MappingNode, Node

from dcf.errors import ConfigError, Problem, SecretNotFound
from dcf.model.function import FunctionSpec
from dcf.project.document import read_text, read_yaml
from dcf.project.fields import ENVIRONMENT, variable_problem
from dcf.project.nodes import ProblemCollector
from dcf.settings import RESERVED_PREFIX

_NAMES = f"letters, digits and '_', without a leading digit or {RESERVED_PREFIX}"
_HIDDEN = "(the content is not shown, because it may be secret)"
_YAML_RULE = (
    "expected a mapping of variables to text, numbers, true or false, each variable once, with"
    f" names of {_NAMES} {_HIDDEN}"
)
_TEXT_RULE = f"expected lines KEY=VALUE in UTF-8 {_HIDDEN}"


@dataclass(frozen=True, slots=True)
class ResolvedEnvironment:
    """Variables and secrets of a replica.

    Attributes:
        environment: Variables; hidden from ``repr``, because they may be secret.
        secrets: The files of the secrets by name.
    """

    environment: dict[str, str] = field(repr=False)
    secrets: dict[str, Path]


def resolve_environment(spec: FunctionSpec, folder: Path, secrets_dir: Path) -> ResolvedEnvironment:
    """Read the variables and locate the secrets.

    Args:
        spec: The function.
        folder: Folder of the config.yaml. Environment files are relative to it.
        secrets_dir: Folder with one file per secret. The files are not opened.

    Raises:
        SecretNotFound: If an environment file or a secret is missing.
        ConfigError: If an environment file is invalid.
    """
    environment = read_environment(spec, folder)
    secrets = {name: secrets_dir / name for name in spec.secrets}
    for name, path in secrets.items():
        if not _is_file(path):
            raise SecretNotFound(name, path)
    return ResolvedEnvironment(environment, secrets)


def read_environment(spec: FunctionSpec, folder: Path) -> dict[str, str]:
    """Return the function's variables, including those of its environment files.

    A later file wins over an earlier one, and ``environment`` wins over all files.

    Args:
        spec: The function.
        folder: Folder of the config.yaml. Environment files are relative to it.

    Raises:
        SecretNotFound: If an environment file is missing.
        ConfigError: If an environment file is invalid.
    """
    environment: dict[str, str] = {}
    for name in spec.environment_file:
        path = folder / name
        if _is_missing(path):
            raise SecretNotFound(name, path)
        is_yaml = path.suffix.lower() in {".yml", ".yaml"}
        environment |= _from_yaml(path) if is_yaml else _from_lines(path)
    return environment | dict(spec.environment)


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # opening it raises the right error
    return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no permission for a folder on its path
        return False


def _from_yaml(path: Path) -> dict[str, str]:
    problems = ProblemCollector(path)
    try:
        root = read_yaml(path)
        values = ENVIRONMENT.read(_variables(root), "", problems) if root else None
        problems.check()
    except ConfigError as error:
        raise _concealed(error, _YAML_RULE) from None
    return values or {}


def _variables(root: Node) -> Node:
    """Return the mapping of variables: the whole file, or the value of its only key."""
    if isinstance(root, MappingNode) and len(root.value) == 1:
        key, value = root.value[0]
        if key.value == "environment" and isinstance(value, MappingNode):
            return value
    return root


def _from_lines(path: Path) -> dict[str, str]:
    try:
        text = read_text(path)
    except ConfigError as error:
        raise _concealed(error, _TEXT_RULE) from None
    variables: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        name, equals, value = re.sub(r"^export\s+", "", bare).partition("=")
        if problem := _line_problem(name.rstrip(), equals, value.strip()):
            column = len(line) - len(line.lstrip()) + 1
            problems.append(Problem(number, column, f"{problem} {_HIDDEN}"))
        variables[name.rstrip()] = _unquoted(value.strip())
    if problems:
        raise ConfigError(path, problems)
    return variables


def _line_problem(name: str, equals: str, value: str) -> str:
    if not equals:
        return "expected KEY=VALUE, got a line without '='"
    if variable_problem(name):
        return f"expected the name of a variable before '=': {_NAMES}"
    if "\0" in value:
        return "must not contain NUL"
    if value[:1] in _QUOTES and (len(value) == 1 or value[-1] != value[0]):
        return "expected the closing quote at the end of the line"
    return ""


_QUOTES = frozenset("'\"")


def _unquoted(value: str) -> str:
    return value[1:-1] if value[:1] in _QUOTES else value


def _concealed(error: ConfigError, rule: str) -> ConfigError:
    """Return the error with ``rule`` for each problem that has a place.

    The messages of problems without a place show nothing of the content.
    """
    hidden = [
        Problem(problem.line, problem.column, rule if problem.line else problem.message)
        for problem in error.problems
    ]
    return ConfigError(error.path, list(dict.fromkeys(hidden)))
