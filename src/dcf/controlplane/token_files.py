"""The gateway's own token, and where its users find it."""

from __future__ import annotations

import logging
from pathlib import Path

from dcf.catalog.api_keys import ApiKeys
from dcf.controlplane.tokens import Tokens, load_secret
from dcf.errors import DiskFull
from dcf.files.atomic import replace_file
from dcf.files.storage import private_folder, writing
from dcf.settings import ControlSettings, Locations

logger = logging.getLogger("dcf.controlplane")


def prepare(settings: ControlSettings, places: Locations, keys: ApiKeys) -> Tokens:
    """Makes the gateway's secret, if it has none, and puts its management token in place. Blocks.

    Args:
        settings: Where the gateway listens.
        places: Its folders.
        keys: The keys that were given out.

    A full disk does not keep the gateway from serving: files that are up to date are not written
    again, and missing files are written at the next start.

    Raises:
        StorageError: If a file cannot be written for another reason.
    """
    tokens = Tokens(load_secret(places.gateway / "secret"), keys)
    for path in (places.gateway / "token", places.token(settings.host, settings.port)):
        text = tokens.management + "\n"
        if _is(path, text):
            continue
        try:
            _write_private(path, text)
        except DiskFull as error:
            logger.warning("the management token could not be written: %s", error)
    return tokens


def _is(path: Path, text: str) -> bool:
    """Return whether a file exists, is private and has this content."""
    try:
        return path.stat().st_mode & 0o077 == 0 and path.read_bytes() == text.encode()
    except OSError:
        return False


def _write_private(path: Path, text: str) -> None:
    """Replaces a file by one that this user alone may read."""
    private_folder(path.parent)
    with writing(path):
        replace_file(path, text)
