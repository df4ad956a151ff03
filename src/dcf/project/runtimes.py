"""The runtimes: language templates that ``init`` copies and config.yaml names."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Runtime:
    """A language template.

    Attributes:
        name: As ``runtime`` in config.yaml has it.
        description: One line for a list.
        base: Another runtime, whose template has the files that are the same in this one; "" when
            its own template has all.
    """

    name: str
    description: str
    base: str = ""


DEFAULT = "python"

_RUNTIMES = (
    Runtime("python", "a class or a function in Python, its packages in requirements.txt"),
    Runtime("streaming", "the same, to start from for messages both ways", base="python"),
)
_ABSENT = {
    "go": "'go' was a runtime of the original; available here: {names}",
}
"""Names that people know from the original, each with its own answer."""


def runtimes() -> tuple[Runtime, ...]:
    """The runtimes that can be used, the default first."""
    return _RUNTIMES


def layers(name: str) -> tuple[str, ...]:
    """The runtimes whose templates make up that of ``name``: what a later one has counts."""
    bases = {runtime.name: runtime.base for runtime in _RUNTIMES}
    return (*(layers(bases[name]) if bases[name] else ()), name)


def why_unavailable(name: str) -> str:
    """Why ``name`` cannot be used as a runtime; "" when it can."""
    names = [runtime.name for runtime in _RUNTIMES]
    if name in names:
        return ""
    listed = ", ".join(names)
    if name in _ABSENT:
        return _ABSENT[name].format(names=listed)
    near = get_close_matches(name.lower(), [*names, *_ABSENT], n=1)
    guess = f"; did you mean {near[0]!r}?" if near and near[0] in names else ""
    return f"there is no runtime {name!r}; available: {listed}{guess}"
