"""The function's secrets."""

from __future__ import annotations

import os
from pathlib import Path

from dcf.errors import SecretNotFound

SECRETS_DIR = "DCF_SECRETS_DIR"
"""Variable with the folder of this function's secrets, one file per secret."""


def secret(name: str) -> str:
    """Return the content of a secret as text, without the final line break.

    Args:
        name: A name under ``secrets`` in config.yaml.

    Raises:
        SecretNotFound: If the function does not have this secret.
    """
    folder = os.environ.get(SECRETS_DIR)
    if folder is None or Path(name).name != name:
        raise SecretNotFound(name, None)
    path = Path(folder, name)
    if not path.is_file():
        raise SecretNotFound(name, None)
    return path.read_text(encoding="utf-8").rstrip("\r\n")
