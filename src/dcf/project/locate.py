"""Locates the function that a command line names.

An argument with a ``/``, or the name of an existing folder with a config.yaml, means a folder. Any
other argument is a key of ./config.yaml. With ``-f`` a plain name is a key of that file. If two
different functions match, that is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dcf.errors import ConfigError, FunctionAmbiguous, FunctionNotFound
from dcf.model.function import FunctionSpec
from dcf.model.names import check_name
from dcf.project.config import CONFIG_NAME, Config, load_config

_PARENTS = 2
"""Number of parent folders that are searched for a config.yaml, to suggest it in a message. The
usual wrong working directory is NAME/src."""
_YAML = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class LocatedFunction:
    """A function and its location.

    Attributes:
        folder: Folder of its config file.
        config: The whole config file.
        spec: The function.
    """

    folder: Path
    config: Config
    spec: FunctionSpec

    def private_files(self, secrets: Path | None) -> list[Path]:
        """Return the environment files and the secrets of all functions of the config file.

        Args:
            secrets: Folder with the secrets; None if there is none.
        """
        specs = self.config.functions.values()
        files = [self.folder / name for spec in specs for name in spec.environment_file]
        if secrets is not None:
            files += [secrets / name for spec in specs for name in spec.secrets]
        return files


def locate(argument: str | None, config: Path | None, cwd: Path) -> LocatedFunction:
    """Return the function that the command line names.

    Args:
        argument: A name, a folder or a config file; None takes the only function.
        config: The file after ``-f``, relative to ``cwd``. A plain name is then a key of it.
        cwd: The working directory.

    Raises:
        FunctionNotFound: If the function or its config file is missing.
        FunctionAmbiguous: If several functions match.
        InvalidName: If ``argument`` is neither a valid name nor a folder.
        ConfigError: If the config file is invalid.
    """
    given = None if config is None else cwd / config
    if argument is None:
        return _only(given, cwd)
    if not argument:
        check_name(argument)  # raises: "" joined to a folder would mean that folder
    place = cwd / argument
    if place.suffix in _YAML and place.is_file():
        return _of_file(place, given, cwd)
    if "/" in argument or (given is None and (place / CONFIG_NAME).is_file()):
        return _of_folder(argument, given, cwd)
    return _by_key(argument, given, cwd)


def _only(given: Path | None, cwd: Path) -> LocatedFunction:
    path = given or cwd / CONFIG_NAME
    if given is None and not path.is_file():
        raise FunctionNotFound(f"{cwd} has no {CONFIG_NAME}{_further_up(cwd)}; {_HOW}")
    config = load_config(path)
    if len(config.functions) > 1:
        raise _several(f"{_shown(path, cwd)} has several functions, name one of them", config)
    return _located(config, next(iter(config.functions)))


def _of_file(path: Path, given: Path | None, cwd: Path) -> LocatedFunction:
    """Return the only function of a config file, or the one with its folder's name."""
    if given is not None and not _same(given, path):
        places = f"{_shown(path, cwd)} and {_shown(given, cwd)}"
        raise FunctionAmbiguous(f"expected one config file, got two: {places}", ())
    config = load_config(path)
    if len(config.functions) == 1:
        return _located(config, next(iter(config.functions)))
    for folder in (path.parent.name, path.parent.resolve().name):
        if folder in config.functions:
            return _located(config, folder)
    message = f"{_shown(path, cwd)} has several functions, and none is named {folder!r}"
    raise _several(message, config)


def _of_folder(argument: str, given: Path | None, cwd: Path) -> LocatedFunction:
    """Return a folder's function, unless the name is also a function in ./config.yaml."""
    place = cwd / argument
    if not place.is_dir():
        sort = "is a file" if place.exists() else "does not exist"
        message = f"expected a folder with a {CONFIG_NAME}, got {argument}, which {sort}"
        raise FunctionNotFound(message, _near(place.name, _folders(place.parent)))
    if given is not None and _same(given.parent, place):
        return _of_file(given, None, cwd)
    path = place / CONFIG_NAME
    if not path.is_file():
        raise FunctionNotFound(f"the folder {argument} has no {CONFIG_NAME}; {_HOW}")
    here = cwd / CONFIG_NAME
    if "/" not in argument and not _same(here, path) and argument in _names(here):
        message = (
            f"{argument!r} is a function in {_shown(here, cwd)}, but the folder {argument} has a "
            f"{CONFIG_NAME} too; use ./{argument} for the folder, or -f {CONFIG_NAME} for the other"
        )
        raise FunctionAmbiguous(message, (argument,))
    return _of_file(path, given, cwd)


def _by_key(argument: str, given: Path | None, cwd: Path) -> LocatedFunction:
    """Return a function by its name."""
    path = given or cwd / CONFIG_NAME
    place = cwd / argument
    if place.is_dir():
        folder = f"the folder {argument} has no {CONFIG_NAME}"
    else:
        folder = f"the folder {argument} does not exist"
        check_name(argument)
    if given is None and not path.is_file():
        message = f"{folder}, and {cwd} has no {CONFIG_NAME}{_further_up(cwd)}; {_HOW}"
        raise FunctionNotFound(message, _near(argument, _folders(cwd)))
    config = load_config(path)
    if argument in config.functions:
        return _located(config, argument)
    if given is not None and _same(given.parent, place):
        return _of_file(given, None, cwd)
    names = list(config.functions)
    message = f"{_shown(path, cwd)} has no function {argument!r}, only {', '.join(names)}"
    if given is None:
        message += f"; {folder}"
        names += _folders(cwd)
    raise FunctionNotFound(message, _near(argument, names))


_HOW = f"`dcf-cli function init NAME` creates a folder with a {CONFIG_NAME}"


def _located(config: Config, name: str) -> LocatedFunction:
    return LocatedFunction(config.path.parent, config, config.functions[name])


def _several(message: str, config: Config) -> FunctionAmbiguous:
    names = tuple(config.functions)
    return FunctionAmbiguous(f"{message}: {', '.join(names)}", names)


def _names(path: Path) -> list[str]:
    """Return the functions of a file that may be missing, or belong to another program."""
    try:
        return list(load_config(path).functions)
    except ConfigError:
        return []


def _folders(parent: Path) -> list[str]:
    """Return the folders in ``parent`` that have a config.yaml."""
    try:
        return sorted(path.parent.name for path in parent.glob(f"*/{CONFIG_NAME}"))
    except OSError:
        return []


def _near(name: str, names: list[str]) -> list[str]:
    return get_close_matches(name.lower(), list(dict.fromkeys(names)))


def _further_up(cwd: Path) -> str:
    for parent in list(cwd.resolve().parents)[:_PARENTS]:
        if (parent / CONFIG_NAME).is_file():
            return f", but {parent} has one: run the command there"
    return ""


def _same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


def _shown(path: Path, cwd: Path) -> str:
    return f"./{path.relative_to(cwd)}" if path.is_relative_to(cwd) else str(path)
