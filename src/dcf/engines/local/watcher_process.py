"""The command line and the environment of a watcher's process on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dcf.settings import RESERVED_PREFIX, WatcherSettings

FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX")
"""Variables that would make the replica's Python import packages of another environment."""

EARLY = frozenset({
    "PYTHONASYNCIODEBUG", "PYTHONBREAKPOINT", "PYTHONCOERCECLOCALE", "PYTHONDEVMODE",
    "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONINTMAXSTRDIGITS",
    "PYTHONIOENCODING", "PYTHONMALLOC", "PYTHONMALLOCSTATS", "PYTHONNODEBUGRANGES",
    "PYTHONNOUSERSITE", "PYTHONOPTIMIZE", "PYTHONPERFSUPPORT", "PYTHONPROFILEIMPORTTIME",
    "PYTHONTRACEMALLOC", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONVERBOSE", "PYTHONWARNINGS",
    "PYTHON_COLORS", "PYTHON_CPU_COUNT", "PYTHON_GIL",
})  # fmt: skip
"""The author's variables that Python reads at its start and that do not lead it to code. All other
``PYTHON`` variables are set only once the limits hold."""

LATE = ("PYTHON", "LD_", "DYLD_", "GCONV_PATH", "LOCPATH", "OPENSSL_")
"""Prefixes of variables that lead Python, or the libraries it starts with, to code."""

START = (
    "import sys; sys.path += sys.argv[3:]; from dcf.watcher.__main__ import main; sys.exit(main())"
)
"""Runs the watcher in an interpreter without ``site``. The arguments are the package folders."""

KEPT = 64 * 1024**2
"""Bytes of free memory that glibc keeps for the next body. By default it returns the memory of each
body or array of a megabyte to the system and requests it again, page by page, which takes two
fifths of the time of such a call. glibc arrives at this value by itself once a block of 32 MiB was
freed. Reasons: docs/decisions/0026-memory-of-replicas.md."""

KEPT_OF_LIMIT = 8
"""At most this part of a memory limit is kept: each thread keeps its own."""


def watcher_command(python: Path) -> list[str]:
    """Return the command line of a watcher.

    The interpreter starts without ``site`` (``-S``) and without the function's folder on its import
    path (``-P``): both could run the author's code before the limits hold. The last arguments are
    the folders of the packages.

    Args:
        python: The interpreter of an environment.
    """
    prefix = python.parent.parent
    packages = next(iter(sorted(prefix.glob("lib/python3*/site-packages"))), None)
    if packages is None or not (prefix / "pyvenv.cfg").exists():
        return [str(python), "-m", "dcf.watcher"]
    folders = [packages]
    if not (packages / "dcf").exists():
        # In a development environment DCF is installed as a link, not as a copy.
        folders.append(Path(__file__).parents[3])
    return [str(python), "-S", "-P", "-c", START, "-m", "dcf.watcher", *map(str, folders)]


def replica_environment(
    settings: WatcherSettings,
    environment: Mapping[str, str],
    extra: Mapping[str, str],
    base: Mapping[str, str],
    *,
    memory: int = 0,
) -> dict[str, str]:
    """Return the whole environment of a replica's process.

    Args:
        settings: What the watcher serves, and where.
        environment: The author's variables.
        extra: The framework's variables. They take precedence over the author's.
        base: The environment that the others are added to.
        memory: The replica's memory limit in bytes; 0 for none.
    """
    kept = {
        name: value
        for name, value in base.items()
        if name not in FOREIGN and not name.startswith(RESERVED_PREFIX)
    }
    late = {name for name in environment if name.startswith(LATE) and name not in EARLY}
    if late:
        text = json.dumps({name: environment[name] for name in late})
        settings = replace(settings, late_variables=text)
    early = {name: value for name, value in environment.items() if name not in late}
    own = {**extra, **settings.to_mapping(), "PYTHONUNBUFFERED": "1"}
    return {**_allocator(memory), **kept, **early, **own}


def _allocator(limit: int) -> dict[str, str]:
    """Return variables of glibc's allocator (``mallopt(3)``). The user's own take precedence."""
    kept = min(KEPT, limit // KEPT_OF_LIMIT) if limit else KEPT
    # Set both: setting either stops glibc from adapting them. Their ratio is glibc's own.
    return {"MALLOC_MMAP_THRESHOLD_": str(kept // 2), "MALLOC_TRIM_THRESHOLD_": str(kept)}
