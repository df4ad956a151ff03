"""The user's pip settings in uv's words.

uv reads neither pip.conf nor ``PIP_*``. Where a machine is set up for pip, packages are to be found
all the same. Only what tells where packages come from is taken, and only where the user has not
told uv already.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SECTIONS = ("global", "install")
"""Sections of pip.conf that speak of installing, the stronger last."""

_DEFAULT_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})


@dataclass(frozen=True, slots=True)
class PipSettings:
    """What to tell uv.

    Attributes:
        variables: Environment variables to add.
        no_index: Whether no index may be asked, only ``find-links``.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    no_index: bool = False


def pip_settings(env: Mapping[str, str], files: Iterable[Path] | None = None) -> PipSettings:
    """Reads the user's pip settings.

    Args:
        env: The environment; ``UV_*`` variables in it win over pip's settings.
        files: pip's configuration files, the weakest first; None takes pip's own list.
    """
    found: dict[str, str] = {}
    for path in pip_files(env) if files is None else files:
        found.update(_options(path))
    found.update(
        (name.removeprefix("PIP_").lower().replace("_", "-"), value)
        for name, value in env.items()
        if name.startswith("PIP_") and value
    )
    variables: dict[str, str] = {}
    for option, taken, variable, translate in _TRANSLATIONS:
        value = translate(found.get(option, ""))
        if value and not any(env.get(name) for name in taken):
            variables[variable] = value
    if "UV_INDEX" in variables:
        # pip takes the best version from all indexes; uv would stop at the first that has any. Of
        # equal versions uv locks the files of the first index alone, so that is the main one where
        # it is named: an extra one may have the files of one platform only.
        main = _first(env, *_DEFAULT_INDEX) or found.get("index-url", "").strip()
        variables["UV_INDEX"] = f"{main} {variables['UV_INDEX']}".strip()
        if not env.get("UV_INDEX_STRATEGY"):
            variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return PipSettings(variables, found.get("no-index", "").lower() in _TRUE)


def pip_files(env: Mapping[str, str], platform: str = sys.platform) -> list[Path]:
    """The files that pip reads, the weakest first (pip: "Configuration", "Location")."""
    named = env.get("PIP_CONFIG_FILE")
    if named == "/dev/null":
        return []
    home = Path(env["HOME"]) if env.get("HOME") else Path.home()
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    shared = [Path(place) for place in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    files = [*(place / "pip" / "pip.conf" for place in reversed(shared)), Path("/etc/pip.conf")]
    if platform == "darwin":
        support = Path("Library") / "Application Support" / "pip" / "pip.conf"
        files += [Path("/") / support, home / support]
    files += [home / ".pip" / "pip.conf", config / "pip" / "pip.conf"]
    files.append(Path(sys.prefix) / "pip.conf")
    return [*files, Path(named)] if named else files


def _options(path: Path) -> dict[str, str]:
    """A file's options. One that pip could not read either says nothing."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    return {
        option.replace("_", "-"): value
        for section in _SECTIONS
        if parser.has_section(section)
        for option, value in parser.items(section)
        if "\0" not in value  # an environment variable cannot hold NUL
    }


def _first(env: Mapping[str, str], *names: str) -> str:
    """The first of some variables that is set."""
    return next((env[name] for name in names if env.get(name)), "")


def _same(value: str) -> str:
    return value.strip()


def _spaced(value: str) -> str:
    return " ".join(value.split())


def _links(value: str) -> str:
    """Separated by commas; folders that are not there left out: pip warns of them, uv fails."""
    links = [re.sub(r"^~(?=/)", str(Path.home()), link) for link in value.split()]
    return ",".join(link for link in links if "://" in link or os.path.exists(link))  # noqa: PTH110  returns False for impossible paths


_TRANSLATIONS: tuple[tuple[str, tuple[str, ...], str, Callable[[str], str]], ...] = (
    ("index-url", _DEFAULT_INDEX, "UV_DEFAULT_INDEX", _same),
    ("extra-index-url", ("UV_INDEX", "UV_EXTRA_INDEX_URL"), "UV_INDEX", _spaced),
    ("find-links", ("UV_FIND_LINKS",), "UV_FIND_LINKS", _links),
    ("trusted-host", ("UV_INSECURE_HOST",), "UV_INSECURE_HOST", _spaced),
    ("cert", ("SSL_CERT_FILE",), "SSL_CERT_FILE", _same),
)
"""pip's option, the variables by which the user has told uv already, uv's variable, and how the
value is written there."""
