"""A function's environment variables and secrets, from where config.yaml says they are.

What the files hold may be secret, so no message shows any of it: a problem is told by its place and
by the rule that it breaks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from yaml import MappingNode, Node

from dcf.errors import ConfigError, Problem, SecretNotFound
from dcf.model.function import FunctionSpec
from dcf.project.document import read_text, read_yaml
from dcf.project.fields import ENVIRONMENT, why_no_variable
from dcf.project.nodes import Faults
from dcf.settings import RESERVED_PREFIX

_NAMES = (
    f"a name has letters, digits and '_' and starts neither with a digit nor with {RESERVED_PREFIX}"
)
_HIDDEN = "(nothing of this file is shown, because it may be secret)"
_YAML_RULE = (
    "a mapping of variables to texts, numbers or truth values is wanted, each variable once; "
    f"{_NAMES} {_HIDDEN}"
)
_TEXT_RULE = f"lines KEY=VALUE in UTF-8 are wanted {_HIDDEN}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a replica is given.

    Attributes:
        environment: Variables; left out of ``repr``, because they may be secret.
        secrets: The file of each secret, by name.
    """

    environment: dict[str, str] = field(repr=False)
    secrets: dict[str, Path]


def resolve_environment(spec: FunctionSpec, folder: Path, secrets_dir: Path) -> Resolved:
    """Reads the variables and finds the secrets.

    Args:
        spec: The function.
        folder: Of its config.yaml, to which the files are relative.
        secrets_dir: Where the secrets are, one file each. They are not opened.

    Raises:
        SecretNotFound: When an environment file or a secret is missing.
        ConfigError: When an environment file cannot be used.
    """
    environment = read_environment(spec, folder)
    secrets = {name: secrets_dir / name for name in spec.secrets}
    for name, path in secrets.items():
        if not _is_file(path):
            raise SecretNotFound(name, path)
    return Resolved(environment, secrets)


def read_environment(spec: FunctionSpec, folder: Path) -> dict[str, str]:
    """The function's variables, those of its environment files included.

    Among the files a later one wins, and ``environment`` wins over all.

    Args:
        spec: The function.
        folder: Of its config.yaml, to which the files are relative.

    Raises:
        SecretNotFound: When an environment file is missing.
        ConfigError: When an environment file cannot be used.
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
        return False  # whoever opens it says what is the matter
    return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder on the way that may not be entered
        return False


def _from_yaml(path: Path) -> dict[str, str]:
    faults = Faults(path)
    try:
        root = read_yaml(path)
        values = ENVIRONMENT.read(_variables(root), "", faults) if root else None
        faults.check()
    except ConfigError as error:
        raise _concealed(error, _YAML_RULE) from None
    return values or {}


def _variables(root: Node) -> Node:
    """The mapping with the variables: the whole file, or all that is under its only key."""
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
        reason = _why_no_line(name.rstrip(), equals, value.strip())
        if reason:
            column = len(line) - len(line.lstrip()) + 1
            problems.append(Problem(number, column, f"{reason} {_HIDDEN}"))
        variables[name.rstrip()] = _unquoted(value.strip())
    if problems:
        raise ConfigError(path, problems)
    return variables


def _why_no_line(name: str, equals: str, value: str) -> str:
    if not equals:
        return "there is no '=' in this line, KEY=VALUE is wanted"
    if why_no_variable(name):
        return f"what stands before '=' cannot name a variable: {_NAMES}"
    if "\0" in value:
        return "there is a zero character in this line"
    if value[:1] in _QUOTES and (len(value) == 1 or value[-1] != value[0]):
        return "a quote is opened and the line does not end with it"
    return ""


_QUOTES = frozenset("'\"")


def _unquoted(value: str) -> str:
    return value[1:-1] if value[:1] in _QUOTES else value


def _concealed(error: ConfigError, rule: str) -> ConfigError:
    """The same places with one rule for all; what has no place shows nothing of the content."""
    hidden = [
        Problem(one.line, one.column, rule if one.line else one.message) for one in error.problems
    ]
    return ConfigError(error.path, list(dict.fromkeys(hidden)))
