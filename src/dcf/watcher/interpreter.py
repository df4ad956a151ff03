"""Sets up the interpreter of a replica once the limits hold.

An engine starts the interpreter isolated, with ``-S`` and ``-P``: without ``sitecustomize``,
``.pth`` files and the author's folder on the import path. Variables that lead Python to code
(``PYTHONPATH``) come as a setting. Once the limits hold, this module does what the interpreter
would have done at its start.

Variables of the dynamic loader (``LD_PRELOAD``) and of libraries act only when a program starts. If
the author has set any, this module starts the interpreter again with an exec. The process keeps its
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
"""Prefixes of variables that the dynamic loader, libc and OpenSSL read only once."""


def begin_again(settings: WatcherSettings) -> None:
    """Start the interpreter again if the author's variables affect libraries it has loaded.

    Do nothing if no such variable is set. Call this right after the limits are in force.
    """
    late = json.loads(settings.late_variables or "{}")
    early = {name: value for name, value in late.items() if name.startswith(LIBRARIES)}
    if not early:
        return
    left = {name: value for name, value in late.items() if name not in early}
    rest = replace(settings, late_variables=json.dumps(left) if left else "")
    environment = {**os.environ, **rest.to_mapping(), **early}
    os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606  no shell is involved


def open_to_author(variables: str) -> None:
    """Set the author's variables, then run ``site`` if the interpreter was started without it.

    Args:
        variables: ``WatcherSettings.late_variables``.
    """
    os.environ.update(json.loads(variables or "{}"))
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep) if variables else []
    if not sys.flags.no_site:
        # With ``python -m dcf.watcher`` the first entry is the working directory.
        sys.path[:1] = path
        return
    # Remove the engine's entries: ``site`` adds the environment's folder in its usual place.
    packages = sys.argv[3:]
    sys.argv[:] = [str(Path(__file__).with_name("__main__.py"))]
    sys.path[:] = [*filter(None, path), *(entry for entry in sys.path if entry not in packages)]
    sys.flags = _Flags.of_default_start()  # type: ignore[assignment]
    site.main()


class _Flags(tuple[Any, ...]):  # noqa: SLOT001  it needs the attributes of the original
    """``sys.flags`` with other values; Python's own type cannot be instantiated.

    ``multiprocessing`` passes the options in ``sys.flags`` to every interpreter that it starts.
    With ``-S`` those interpreters would have no packages.
    """

    @classmethod
    def of_default_start(cls) -> _Flags:
        """Return the flags of an interpreter that was started without ``-S`` and ``-P``."""
        names = [name for name in dir(sys.flags) if name[0] != "_" and name not in _STRUCTURE]
        fields = {name: getattr(sys.flags, name) for name in names}
        values = {name: value for name, value in fields.items() if not callable(value)}
        values |= {"no_site": 0, "safe_path": bool(os.environ.get("PYTHONSAFEPATH"))}
        flags = cls(values.values())
        vars(flags).update(values)
        return flags
