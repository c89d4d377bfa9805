"""Speaking to the user: what is written of “the user” as said to them, outside of quotation marks."""

from __future__ import annotations

import re
from collections.abc import Callable

_QUOTED = re.compile(r"(“[^”]*”)")
_VERBS = {"has": "have", "is": "are", "was": "were"}
_THIRD: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"\b([Tt])he user's\b", lambda found: f"{_y(found)}our"),
    (r"\b([Tt])he user (has|is|was)\b", lambda found: f"{_y(found)}ou {_VERBS[found[2]]}"),
    (r"\b([Tt])he user (\w+?)(es|s)\b(?<!\bless)", lambda found: f"{_y(found)}ou {_plural(found[2], found[3])}"),
    (r"\b([Tt])he user\b", lambda found: f"{_y(found)}ou"),
    (r"\bsaid that they (like|dislike)\b", lambda found: f"said that you {found[1]}"),
)


def to_you(text: str) -> str:
    """A sentence about the user as it is said to them; quotations stay as they are."""
    parts = _QUOTED.split(text)
    for number in range(0, len(parts), 2):
        for pattern, said in _THIRD:
            parts[number] = re.sub(pattern, said, parts[number])
    return "".join(parts)


def _y(found: re.Match[str]) -> str:
    return "Y" if found[1] == "T" else "y"


def _plural(stem: str, ending: str) -> str:
    """A verb as it goes with “you”: “enjoys”, “watches”, “tries”."""
    if ending == "es":
        return (
            f"{stem[:-1]}y"
            if stem.endswith("i")
            else stem
            if stem.endswith(("ch", "sh", "ss", "x", "o"))
            else f"{stem}e"
        )
    return stem
