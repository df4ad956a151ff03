"""The interpreter of a replica: isolated until the limits hold, then set up as its author wants it.

An engine starts the interpreter with ``-S`` and ``-P``: no ``sitecustomize``, no ``.pth`` file, no
folder of the author's on the import path. Variables that lead Python to code (``PYTHONPATH``) come
as a setting. Once the limits hold, this module does what the interpreter would have done.
"""

from __future__ import annotations

import json
import os
import site
import sys
from pathlib import Path
from typing import Any

_STRUCTURE = frozenset({"n_fields", "n_sequence_fields", "n_unnamed_fields"})


def open_to_author(variables: str) -> None:
    """Sets the author's variables, then runs ``site`` if the interpreter was started without it.

    Args:
        variables: ``WatcherSettings.python_variables``.
    """
    os.environ.update(json.loads(variables or "{}"))
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep) if variables else []
    if not sys.flags.no_site:
        # Started as ``python -m dcf.watcher``: the first entry is the working directory.
        sys.path[:1] = path
        return
    # The engine's entries: ``site`` adds the environment's folder again, in its own place.
    packages = sys.argv[3:]
    sys.argv[:] = [str(Path(__file__).with_name("__main__.py"))]
    sys.path[:] = [*filter(None, path), *(entry for entry in sys.path if entry not in packages)]
    sys.flags = _Flags.of_default_start()  # type: ignore[assignment]
    site.main()


class _Flags(tuple[Any, ...]):  # noqa: SLOT001  its attributes are those of the original
    """``sys.flags`` with other values; Python's own type cannot be instantiated.

    ``multiprocessing`` passes the options in ``sys.flags`` on to every interpreter that it starts.
    With ``-S`` these would have no packages.
    """

    @classmethod
    def of_default_start(cls) -> _Flags:
        """The flags of an interpreter that was started without ``-S`` and ``-P``."""
        names = [name for name in dir(sys.flags) if name[0] != "_" and name not in _STRUCTURE]
        fields = {name: getattr(sys.flags, name) for name in names}
        values = {name: value for name, value in fields.items() if not callable(value)}
        values |= {"no_site": 0, "safe_path": bool(os.environ.get("PYTHONSAFEPATH"))}
        flags = cls(values.values())
        vars(flags).update(values)
        return flags
