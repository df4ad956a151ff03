"""JSON Schema of config.yaml, for editors.

``python -m dcf.project.schema > docs/config.schema.json`` writes the file that is published.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from dcf.project.fields import CONFIG


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12).

    It accepts the same files as the validator, except for what JSON Schema cannot express:
    duplicate keys, numbers out of range that are written as text, and contradicting fields.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.yaml of DCF",
        "description": "Settings of one or more functions.",
        **CONFIG.schema(),
    }


def schema_text() -> str:
    """Return the text of the published schema."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
