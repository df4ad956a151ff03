"""Parses settings strictly: a variable holds a valid value, or reading it is an error.

The annotation of a field says which values it takes. A class of settings and its variables share
their names: the field ``builds`` behind the prefix ``DCF_CONTROL_`` is ``DCF_CONTROL_BUILDS``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from dcf.errors import ConfigError, Problem

RESERVED_PREFIX = "DCF_"
"""Prefix of the framework's environment variables. An author cannot set them."""

LARGEST_WHOLE = 2**63 - 1
"""What the kernel's interfaces and the catalog can hold."""

_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True,
             "0": False, "false": False, "no": False, "off": False}  # fmt: skip
_DECIMAL = r"-?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?"
_LONGEST_NUMBER = 400
_SHOWN = 60
"""Maximum characters of a value in a message."""


# Plain classes: every replica imports this module, and a dataclass takes a millisecond to create.
class SettingRule:
    """Which texts a field takes.

    Attributes:
        expected: The allowed values, for messages.
    """

    expected: str

    def parse(self, text: str) -> Any:
        """Return the value of ``text``.

        Raises:
            ValueError: If the text is not allowed.
        """
        raise NotImplementedError

    def shown(self, text: str) -> str:
        """Return a rejected text for messages: in quotes, shortened."""
        if not text:
            return "an empty value"
        return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


class BooleanRule(SettingRule):
    """True or false, in any case."""

    expected = "1, 0, true, false, yes, no, on or off"

    def parse(self, text: str) -> bool:
        """Return the value."""
        try:
            return _BOOLEANS[text.lower()]
        except KeyError:
            raise ValueError(text) from None


class WholeNumberRule(SettingRule):
    """A whole number."""

    def __init__(self, least: int = 0, most: int = LARGEST_WHOLE, unit: str = "") -> None:
        """Create a rule.

        Args:
            least: Minimum.
            most: Maximum.
            unit: What the number counts, for messages.
        """
        self.least = least
        self.most = most
        self.expected = f"a whole number{f' of {unit}' if unit else ''} from {least} to {most}"

    def parse(self, text: str) -> int:
        """Return the number."""
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER):
            raise ValueError(text)
        number = int(text)
        if not self.least <= number <= self.most:
            raise ValueError(text)
        return number


class SecondsRule(SettingRule):
    """A duration in seconds."""

    def __init__(
        self, least: float = 0.0, most: float = sys.float_info.max, *, above: bool = False
    ) -> None:
        """Create a rule.

        Args:
            least: Minimum.
            most: Maximum.
            above: Whether the minimum itself is too small.
        """
        self.least = least
        self.most = most
        self.above = above
        low = f"{'above' if above else 'from'} {least:g}"
        high = f" to {most:.0f}" if most < sys.float_info.max else ""
        self.expected = f"a number of seconds {low}{high}, such as 90"

    def parse(self, text: str) -> float:
        """Return the number of seconds."""
        if not re.fullmatch(_DECIMAL, text):
            raise ValueError(text)
        number = float(text)
        if not self.least <= number <= self.most or (self.above and number == self.least):
            raise ValueError(text)
        return number


class ChoiceRule(SettingRule):
    """One of several words, in any case."""

    def __init__(self, words: tuple[str, ...], aliases: Mapping[str, str]) -> None:
        """Create a rule.

        Args:
            words: The words, as the value has them.
            aliases: Other spellings of these words, in lower case.
        """
        self.words = words
        self.expected = f"{', '.join(words[:-1])} or {words[-1]}"
        self._known = {word.lower(): word for word in words} | dict(aliases)

    def parse(self, text: str) -> str:
        """Return the word."""
        try:
            return self._known[text.lower()]
        except KeyError:
            raise ValueError(text) from None


class TextRule(SettingRule):
    """A text, or "" for none."""

    def __init__(self, pattern: str, expected: str) -> None:
        """Create a rule.

        Args:
            pattern: What the whole text must match.
            expected: The same in words.
        """
        self.expected = expected
        self._pattern = pattern

    def parse(self, text: str) -> str:
        """Return the text."""
        if not re.fullmatch(self._pattern, text):
            raise ValueError(text)
        return text


class LineRule(SettingRule):
    """Any text that is valid UTF-8, or "" for none."""

    expected = "text in UTF-8"

    def parse(self, text: str) -> str:
        """Return the text."""
        text.encode()
        return text


class PathRule(SettingRule):
    """A path, a list of paths, or an address with a path. Paths need not be UTF-8."""

    expected = "a path"

    def parse(self, text: str) -> str:
        """Return the path."""
        return text


class VariablesRule(SettingRule):
    """A JSON object of texts, or "" for none. Its values may be secret, so no message shows it."""

    expected = "a JSON object of texts"

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

    def shown(self, text: str) -> str:  # noqa: ARG002  shows nothing of it
        """Return words that show nothing of the text."""
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
Line = Annotated[str, LineRule()]
FilePath = Annotated[str, PathRule()]


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
