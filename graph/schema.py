"""The published JSON Schema of the document that `whylike explain --json` prints.

`explanation.schema.json` beside this file is written by `python -m whylike.graph.schema`; a test holds it to
the record.
"""

from __future__ import annotations

import json
from pathlib import Path

from whylike.explanation import Explanation

FILE = Path(__file__).with_name("explanation.schema.json")


def published() -> str:
    """What the file must hold."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Explanation.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(published(), encoding="utf-8")
