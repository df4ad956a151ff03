"""The gateway's own token, and where its users find it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dcf.builder.disk import private_folder, writing
from dcf.control.keys import Keys
from dcf.gateway.tokens import Tokens, load_secret
from dcf.settings import ControlSettings, Locations


def prepare(settings: ControlSettings, places: Locations, keys: Keys) -> Tokens:
    """Makes the gateway's secret, if it has none, and puts its management token in place. Blocks.

    Args:
        settings: Where the gateway listens.
        places: Its folders.
        keys: The keys that were given out.

    Raises:
        StorageError: When a file cannot be written.
    """
    tokens = Tokens(load_secret(places.gateway / "secret"), keys)
    for path in (places.gateway / "token", places.token(settings.host, settings.port)):
        _write_private(path, tokens.management + "\n")
    return tokens


def _write_private(path: Path, text: str) -> None:
    """Replaces a file by one that this user alone may read."""
    private_folder(path.parent)
    with writing(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".token-")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
