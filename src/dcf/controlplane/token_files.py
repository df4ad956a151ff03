"""Writes the management token to the files where its users' commands find it."""

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
    """Create the gateway's secret if it is missing, and write the management token. Blocks.

    A full disk does not stop the gateway: files that are up to date are not written again, and
    missing files are written at the next start.

    Args:
        settings: The address of the gateway.
        places: Its folders.
        keys: The issued keys.

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
    """Replace a file atomically by a private one."""
    private_folder(path.parent)
    with writing(path):
        replace_file(path, text)
