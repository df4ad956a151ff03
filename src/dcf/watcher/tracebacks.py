"""Reduces tracebacks to the author's own code."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import FrameType

from dcf.protocol.text import whole_text

LIMIT = 32 * 1024
"""Maximum characters of one traceback. An exception can have a whole array in its message."""

_names = [("", "")]
"""The folder of the running files, and the author's name for it."""

_OURS = str(Path(__file__).parent)


def name_files_as(ran: str, written: str) -> None:
    """Show files below ``ran`` as files below ``written`` in all tracebacks and messages.

    A replica runs a copy of the author's folder, and the author knows the original. One process
    runs one function, so this applies to the whole process.
    """
    _names[0] = (ran, written)


def in_authors_words(text: str) -> str:
    """Return ``text`` with the author's paths instead of the copy's, and whole characters."""
    ran, written = _names[0]
    return whole_text(text.replace(ran, written) if ran else text)


def author_traceback(error: BaseException) -> str:
    """Return ``error`` as Python prints it, beginning at the first line of the author's code."""
    printed = traceback.TracebackException.from_exception(error, max_group_depth=4)
    frames = list(printed.stack)
    while frames and (
        frames[0].filename.startswith(_OURS) or frames[0].filename.startswith("<frozen importlib")
    ):
        frames.pop(0)
    if frames:
        printed.stack = traceback.StackSummary.from_list(frames)
        text = "".join(printed.format())
    else:
        text = "".join(printed.format_exception_only())
    return _shortened(text)


def author_stack(frame: FrameType) -> str:
    """Return the stack of a thread, beginning at the first line of the author's code.

    Args:
        frame: The thread's innermost frame.
    """
    frames = traceback.extract_stack(frame)
    ours = [place for place, line in enumerate(frames) if line.filename.startswith(_OURS)]
    frames = traceback.StackSummary.from_list(frames[ours[-1] + 1 :] if ours else frames)
    while frames and frames[0].filename.startswith("<frozen importlib"):
        frames.pop(0)
    return _shortened("Stack (most recent call last):\n" + "".join(frames.format()))


def summary(error: BaseException) -> str:
    """Return type and message of ``error``, without its place in the code."""
    if isinstance(error, SystemExit):
        return f"the handler called sys.exit({error.code!r})"
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001  the author's own __str__
        message = "<its message cannot be shown>"
    text = in_authors_words(f"{type_name(error)}: {message}" if message else type_name(error))
    return text if len(text) <= LIMIT else f"{text[:LIMIT]} [...]"


def _shortened(text: str) -> str:
    text = in_authors_words(text)
    return text if len(text) <= LIMIT else f"{text[: LIMIT // 2]}\n[...]\n{text[-LIMIT // 2 :]}"


def type_name(error: BaseException) -> str:
    """Return the exception's type as an import would name it."""
    kind = type(error)
    prefix = "" if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}."
    return whole_text(f"{prefix}{kind.__qualname__}")
