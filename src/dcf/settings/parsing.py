"""Parses settings strictly: a variable holds a valid value, or reading it is an error.

The annotation of a field says which values it takes. A class of settings and its variables share
their names: the field ``builds`` behind the prefix ``DCF_CONTROL_`` is ``DCF_CONTROL_BUILDS``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Protocol, get_type_hints

from dcf.errors import ConfigError, Problem

RESERVED_PREFIX = "DCF_"
"""Prefix of the framework's environment variables. An author cannot set them."""

LARGEST_WHOLE = 2**63 - 1
"""What the kernel's interfaces and the catalog can hold."""

_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True,
             "0": False, "false": False, "no": False, "off": False}  # fmt: skip
_WHOLE = re.compile(r"-?[0-9]{1,400}")
_DECIMAL = re.compile(r"-?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")
_SHOWN = 60
"""Maximum characters of a value in a message."""


class SettingRule(Protocol):
    """Which texts a field takes."""

    @property
    def expected(self) -> str:
        """The allowed values, for messages."""

    def parse(self, text: str) -> Any:
        """Return the value of ``text``.

        Raises:
            ValueError: If the text is not allowed. The message is not used.
        """

    def shown(self, text: str) -> str:
        """Return ``text`` for messages."""


class _Shown:
    """Shows a rejected value in messages."""

    def shown(self, text: str) -> str:
        """Return ``text`` in quotes, shortened."""
        if not text:
            return "an empty value"
        return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


@dataclass(frozen=True, slots=True)
class BooleanRule(_Shown):
    """True or false."""

    expected: str = "1, 0, true, false, yes, no, on or off"

    def parse(self, text: str) -> bool:
        """Return the value, in any case."""
        try:
            return _BOOLEANS[text.lower()]
        except KeyError:
            raise ValueError(text) from None


@dataclass(frozen=True, slots=True)
class WholeNumberRule(_Shown):
    """A whole number.

    Attributes:
        least: Minimum.
        most: Maximum.
        unit: What it counts, for messages.
    """

    least: int = 0
    most: int = LARGEST_WHOLE
    unit: str = ""

    @property
    def expected(self) -> str:
        """The range."""
        unit = f" of {self.unit}" if self.unit else ""
        return f"a whole number{unit} from {self.least} to {self.most}"

    def parse(self, text: str) -> int:
        """Return the number."""
        number = int(text) if _WHOLE.fullmatch(text) else self.least - 1
        if not self.least <= number <= self.most:
            raise ValueError(text)
        return number


@dataclass(frozen=True, slots=True)
class SecondsRule(_Shown):
    """A duration in seconds.

    Attributes:
        least: Minimum.
        most: Maximum.
        above: Whether the minimum itself is too small.
    """

    least: float = 0.0
    most: float = sys.float_info.max
    above: bool = False

    @property
    def expected(self) -> str:
        """The range."""
        low = f"{'above' if self.above else 'from'} {self.least:g}"
        high = f" to {self.most:.0f}" if self.most < sys.float_info.max else ""
        return f"a number of seconds {low}{high}, such as 90"

    def parse(self, text: str) -> float:
        """Return the number of seconds."""
        if not _DECIMAL.fullmatch(text):
            raise ValueError(text)
        number = float(text)
        if not self.least <= number <= self.most or (self.above and number == self.least):
            raise ValueError(text)
        return number


@dataclass(frozen=True, slots=True)
class ChoiceRule(_Shown):
    """One of several words, in any case.

    Attributes:
        words: The words, as the value has them.
        aliases: Other spellings of these words.
    """

    words: tuple[str, ...]
    aliases: Mapping[str, str]

    @property
    def expected(self) -> str:
        """The words."""
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def parse(self, text: str) -> str:
        """Return the word."""
        known = {word.lower(): word for word in self.words} | dict(self.aliases)
        try:
            return known[text.lower()]
        except KeyError:
            raise ValueError(text) from None


@dataclass(frozen=True, slots=True)
class TextRule(_Shown):
    """A text, or "" for none.

    Attributes:
        pattern: What the whole text must match.
        expected: The same in words.
    """

    pattern: str = r"[^\ud800-\udfff]*"
    expected: str = "text in UTF-8"

    def parse(self, text: str) -> str:
        """Return the text."""
        if not re.fullmatch(self.pattern, text):
            raise ValueError(text)
        return text


@dataclass(frozen=True, slots=True)
class VariablesRule:
    """A JSON object of texts, or "" for none. Its values may be secret, so no message shows it."""

    expected: str = "a JSON object of texts"

    def parse(self, text: str) -> str:
        """Return the text of the object."""
        try:
            members = json.loads(text or "{}")
            json.dumps(members, ensure_ascii=False).encode("utf-8", "surrogateescape")
        except (RecursionError, ValueError):
            raise ValueError from None
        if not isinstance(members, dict):
            raise ValueError  # noqa: TRY004  one error for all
        if not all(isinstance(value, str) and "\0" not in name + value
                   and name and "=" not in name for name, value in members.items()):  # fmt: skip
            raise ValueError
        return text

    def shown(self, _text: str) -> str:
        """Return words that show nothing of the value."""
        return "something else"


YEAR = 365 * 86_400.0
"""Seconds. Longer durations are rejected as typos."""

Flag = Annotated[bool, BooleanRule()]
Count = Annotated[int, WholeNumberRule()]
Bytes = Annotated[int, WholeNumberRule(unit="bytes")]
Port = Annotated[int, WholeNumberRule(1, 65535)]
Seconds = Annotated[float, SecondsRule(most=YEAR)]
"""Seconds; 0 is allowed."""
PositiveSeconds = Annotated[float, SecondsRule(most=YEAR, above=True)]
"""Seconds above 0."""
LogLevel = Annotated[
    str,
    ChoiceRule(
        ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"), {"fatal": "CRITICAL", "warn": "WARNING"}
    ),
]
"""A level of Python's ``logging``."""
Line = Annotated[str, TextRule()]
"""Any text that is valid UTF-8."""
FilePath = Annotated[str, TextRule(r"[\s\S]*", "a path")]
"""A path, a list of paths, or an address with a path. Paths are bytes, so they need not be
UTF-8."""


def read_settings(settings: type, env: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Return the values of the fields whose variables are set.

    Args:
        settings: A dataclass whose fields are annotated with a :class:`SettingRule`.
        env: The environment.
        prefix: Comes before the field's name in the variable's name.

    Raises:
        ConfigError: If a value is not allowed. The message names the variable.
    """
    hints = get_type_hints(settings, include_extras=True)
    values = {}
    for field in fields(settings):
        variable = prefix + field.name.upper()
        text = env.get(variable)
        if text is None:
            continue
        (rule,) = hints[field.name].__metadata__
        values[field.name] = _parse(rule, variable, text, field.default)
    return values


def write_settings(settings: Any, prefix: str) -> dict[str, str]:
    """Return the variables that :func:`read_settings` reads back to equal values."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {
        prefix + name.upper(): str(int(value) if isinstance(value, bool) else value)
        for name, value in values.items()
    }


def _parse(rule: SettingRule, variable: str, text: str, default: Any) -> Any:
    try:
        return rule.parse(text)
    except ValueError:
        default = int(default) if isinstance(default, bool) else default
        message = (
            f"expected {rule.expected}, got {rule.shown(text)};"
            f" change it, or unset it for the default ({default!r})"
        )
        raise ConfigError(Path(variable), [Problem(0, 0, message)]) from None
