"""JSON Schema of config.yaml, for editors.

``python -m dcf.project.schema > docs/config.schema.json`` writes the file that is published.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from dcf.project.fields import CONFIG


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12).

    It says what the validator says, but for what it has no words for: keys given twice, numbers
    beyond every machine or every bound that are written as texts, and fields that contradict one
    another.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.yaml of DCF",
        "description": "Settings of one or more functions.",
        **CONFIG.schema(),
    }


def schema_text() -> str:
    """The schema as the published file has it."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
