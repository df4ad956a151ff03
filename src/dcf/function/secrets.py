"""The author's secrets, by name."""

from __future__ import annotations

import os
from pathlib import Path

from dcf.errors import SecretNotFound

SECRETS_DIR = "DCF_SECRETS_DIR"
"""Variable that names the folder with the secrets of this function, one file each."""


def secret(name: str) -> str:
    """The content of the secret ``name``, as text, without the line break at its end.

    The name must stand under ``secrets`` in config.yaml.

    Raises:
        SecretNotFound: When the function has no such secret.
    """
    folder = os.environ.get(SECRETS_DIR)
    if folder is None or Path(name).name != name:
        raise SecretNotFound(name, None)
    path = Path(folder, name)
    if not path.is_file():
        raise SecretNotFound(name, None)
    return path.read_text(encoding="utf-8").rstrip("\r\n")
