"""What is left of a text in a store's files, in any of the forms in which it may be written there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def left(store: Path, needles: Iterable[str]) -> set[tuple[str, str]]:
    """Each needle that is found, with the file, under the store's folder, that has it; the files' names are read too.

    As UTF-8, as JSON has it with and without escapes, and as JSON within JSON.
    """
    forms = {}
    for needle in needles:
        escaped = [json.dumps(needle, ensure_ascii=way)[1:-1] for way in (True, False)]
        twice = [json.dumps(each)[1:-1] for each in escaped]
        forms[needle] = {each.encode("utf-8", "surrogatepass") for each in (needle, *escaped, *twice)}
    found = set()
    for path in store.rglob("*"):
        held = str(path.relative_to(store)).encode() + (path.read_bytes() if path.is_file() else b"")
        lower = held.lower()
        found |= {
            (needle, str(path.relative_to(store)))
            for needle, ways in forms.items()
            if any(way.lower() in lower for way in ways)
        }
    return found
