"""Translates the user's pip settings for uv.

uv reads neither pip.conf nor ``PIP_*``, but a build must find packages on a machine that is set up
for pip. Only settings of where packages come from are translated. uv's own settings take
precedence.
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
"""Sections of pip.conf that apply to installing, in rising precedence."""

_DEFAULT_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})


@dataclass(frozen=True, slots=True)
class PipSettings:
    """pip's settings as uv's.

    Attributes:
        variables: Environment variables to add.
        no_index: Whether only ``find-links`` may be used, and no index.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    no_index: bool = False


def pip_settings(env: Mapping[str, str], files: Iterable[Path] | None = None) -> PipSettings:
    """Read the user's pip settings.

    Args:
        env: The environment; its ``UV_*`` variables override pip's settings.
        files: pip's configuration files, in rising precedence; None takes pip's own list.
    """
    options: dict[str, str] = {}
    for path in pip_files(env) if files is None else files:
        options.update(_options(path))
    options.update(
        (name.removeprefix("PIP_").lower().replace("_", "-"), value)
        for name, value in env.items()
        if name.startswith("PIP_") and value
    )
    variables: dict[str, str] = {}
    for option, overrides, variable, translate in _TRANSLATIONS:
        value = translate(options.get(option, ""))
        if value and not any(env.get(name) for name in overrides):
            variables[variable] = value
    if "UV_INDEX" in variables:
        # pip takes the best version of all indexes; uv would stop at the first index that has the
        # package. Of equal versions uv locks only the files of the first index. So the main index
        # comes first if it is named: an extra index may have the files of a single platform.
        main = _first(env, *_DEFAULT_INDEX) or options.get("index-url", "").strip()
        variables["UV_INDEX"] = f"{main} {variables['UV_INDEX']}".strip()
        if not env.get("UV_INDEX_STRATEGY"):
            variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return PipSettings(variables, options.get("no-index", "").lower() in _TRUE)


def pip_files(env: Mapping[str, str], platform: str = sys.platform) -> list[Path]:
    """Return the files that pip reads, in rising precedence (pip: "Configuration", "Location")."""
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
    """Return the options of a file; none if pip could not read it either."""
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
    """Return the value of the first variable that is set."""
    return next((env[name] for name in names if env.get(name)), "")


def _same(value: str) -> str:
    return value.strip()


def _spaced(value: str) -> str:
    return " ".join(value.split())


def _links(value: str) -> str:
    """Return the links separated by commas. Missing folders are dropped: pip warns, uv fails."""
    links = [re.sub(r"^~(?=/)", str(Path.home()), link) for link in value.split()]
    return ",".join(link for link in links if "://" in link or os.path.exists(link))  # noqa: PTH110  returns False for impossible paths


_TRANSLATIONS: tuple[tuple[str, tuple[str, ...], str, Callable[[str], str]], ...] = (
    ("index-url", _DEFAULT_INDEX, "UV_DEFAULT_INDEX", _same),
    ("extra-index-url", ("UV_INDEX", "UV_EXTRA_INDEX_URL"), "UV_INDEX", _spaced),
    ("find-links", ("UV_FIND_LINKS",), "UV_FIND_LINKS", _links),
    ("trusted-host", ("UV_INSECURE_HOST",), "UV_INSECURE_HOST", _spaced),
    ("cert", ("SSL_CERT_FILE",), "SSL_CERT_FILE", _same),
)
"""pip's option, the variables of uv that override it, the variable of uv to set, and how to
translate the value."""
