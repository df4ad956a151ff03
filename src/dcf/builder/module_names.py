"""Finds files of a function that have the name of a module of Python or of DCF."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

from dcf.model.artifact import Bundle

_TAKEN = sys.stdlib_module_names | {"dcf"}


def name_notices(bundle: Bundle, handler_dir: str, handler_file: str) -> Iterator[str]:
    """Yield a sentence for each module in the handler's folder that has another module's name.

    Args:
        bundle: The function's files.
        handler_dir: The handler's folder, relative to the function's.
        handler_file: The handler's file; it may have any name, because it is not imported by name.
    """
    folder = PurePosixPath(handler_dir)
    for file in bundle.files:
        path = PurePosixPath(file.path)
        if path.name == "__init__.py":
            path = path.parent
        elif path.suffix != ".py" or path.name == handler_file:
            continue
        if path.parent == folder and path.stem in _TAKEN:
            owner = "DCF" if path.stem == "dcf" else "Python"
            yield (
                f"{path} has the name of a module of {owner}. `import {path.stem}` may import"
                " either of them. Rename the file."
            )
