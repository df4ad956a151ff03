"""The interpreter of a replica: isolated until the limits hold, then set up as its author wants it.

An engine starts the interpreter with ``-S`` and ``-P``: no ``sitecustomize``, no ``.pth`` file, no
folder of the author's on the import path. Variables that lead Python to code (``PYTHONPATH``) come
as a setting. Once the limits hold, this module does what the interpreter would have done.

Variables of the dynamic loader (``LD_PRELOAD``) and of libraries act only where a program begins.
Where there are any, the interpreter is started once more, in the same process, which keeps its
limits.
"""

from __future__ import annotations

import json
import os
import site
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from dcf.settings import WatcherSettings

_STRUCTURE = frozenset({"n_fields", "n_sequence_fields", "n_unnamed_fields"})


LIBRARIES = ("LD_", "DYLD_", "GCONV_PATH", "LOCPATH", "OPENSSL_")
"""How the names of variables begin that the dynamic loader, libc and OpenSSL read only once."""


def begin_again(settings: WatcherSettings) -> None:
    """Starts the interpreter anew if the author has variables for the libraries that it has loaded.

    It returns if there are none. Call it once the limits hold, and before anything else.
    """
    late = json.loads(settings.late_variables or "{}")
    early = {name: value for name, value in late.items() if name.startswith(LIBRARIES)}
    if not early:
        return
    left = {name: value for name, value in late.items() if name not in early}
    rest = replace(settings, late_variables=json.dumps(left) if left else "")
    environment = {**os.environ, **rest.to_mapping(), **early}
    os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606  that is what it is for


def open_to_author(variables: str) -> None:
    """Sets the author's variables, then runs ``site`` if the interpreter was started without it.

    Args:
        variables: ``WatcherSettings.late_variables``.
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
