"""Runtimes: the language templates for ``init``. config.yaml names one of them."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class RuntimeTemplate:
    """A language template.

    Attributes:
        name: The value of ``runtime`` in config.yaml.
        description: One line for lists.
        base: Runtime whose template has the files that both share; "" if the runtime's own template
            has all files.
    """

    name: str
    description: str
    base: str = ""


DEFAULT = "python"

_RUNTIMES = (
    RuntimeTemplate("python", "a class or a function in Python, with packages in requirements.txt"),
    RuntimeTemplate(
        "streaming", "the same, with a handler for streams in both directions", base="python"
    ),
)
_ABSENT = {
    "go": "the runtime 'go' of the original DCF is not supported; available: {names}",
}
"""Runtimes of the original DCF, each with its own message."""


def runtimes() -> tuple[RuntimeTemplate, ...]:
    """Return the supported runtimes, the default first."""
    return _RUNTIMES


def layers(name: str) -> tuple[str, ...]:
    """Return the runtimes whose templates make up the template of ``name``; later ones win."""
    bases = {runtime.name: runtime.base for runtime in _RUNTIMES}
    return (*(layers(bases[name]) if bases[name] else ()), name)


def runtime_problem(name: str) -> str:
    """Return why ``name`` is not a supported runtime, or ""."""
    names = [runtime.name for runtime in _RUNTIMES]
    if name in names:
        return ""
    listed = ", ".join(names)
    if name in _ABSENT:
        return _ABSENT[name].format(names=listed)
    near = get_close_matches(name.lower(), [*names, *_ABSENT], n=1)
    guess = f" (did you mean {near[0]!r}?)" if near and near[0] in names else ""
    return f"unknown runtime {name!r}{guess}; available: {listed}"
