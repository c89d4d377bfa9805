"""A hash of how an expert's answers are made, apart from its adapter: what was made by another recipe is stale."""

from __future__ import annotations

import hashlib
import json
import re
from types import ModuleType

HEX = 16
"""Hex digits of a recipe's hash."""


def recipe(*parts: object) -> str:
    """The hash of plain values, in `HEX` hex digits."""
    return digest(parts)[:HEX]


def digest(made_of: object) -> str:
    """The SHA-256 of plain values, in hex."""
    told = json.dumps(made_of, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def constants(module: ModuleType) -> dict[str, object]:
    """A module's own constants by name, the private ones too, each pattern as its text and flags.

    All are taken, so that none can be forgotten when one is added.
    """
    return {
        name: [value.pattern, value.flags] if isinstance(value, re.Pattern) else value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, (int, float, str, tuple, re.Pattern))
    }
