"""What a failed write means."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcf.errors import NO_SPACE, DiskFull, StorageError

READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""A place that is not ours to write to."""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Names the place when a write in the block fails.

    Raises:
        DiskFull: When no space is left.
        StorageError: When it fails for another reason of the operating system.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(f"no space is left for {place}") from error
        raise StorageError(f"{place} cannot be written: {error.strerror or error}") from error
