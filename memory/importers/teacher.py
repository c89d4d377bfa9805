"""Reading what a teacher wrote: files of review summaries, JSON Lines, plain or gzip.

Each row has a review (`text`, `rating`, `item_id`, perhaps `headline`) and its `summary`, three lines of aspects as
Reason4Rec has them, and perhaps `match`: how surely the two belong together.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from whylike.errors import InputError
from whylike.records import RatingScale, SummaryAnnotation

WELL_JOINED = 0.15
"""Least `match` of a row that is taken: of those below, some are joined to the wrong review."""
SCALE = RatingScale()
"""The scale of the ratings in such files."""
HEADS = {
    "Positive Aspects": "likes",
    "Negative Aspects": "dislikes",
    "User Preference Elements": "preferences",
}
"""How the lines of a summary begin."""
_NOTHING = re.compile(
    r"(?:none|n/?a|not? \w+)\b(?:\W+(?:\w+ )?(?:mentioned|specified|stated|given|found|aspects?).*)?", re.IGNORECASE
)
_OPENS, _CLOSES = "([“", ")]”"


def read_annotations(file: Path) -> Iterator[SummaryAnnotation]:
    """The annotations of a file; rows that are joined badly, or say nothing, are left out.

    Raises:
        InputError: It cannot be read, or a row is not of this shape; the error names the line.
    """
    number = 0
    try:
        with _opened(file) as lines:
            for line in lines:
                number += 1
                row = json.loads(line)
                lists = aspects(row["summary"])
                if row.get("match", 1) >= WELL_JOINED and (lists["likes"] or lists["dislikes"]):
                    yield SummaryAnnotation(
                        item_id=row["item_id"],
                        title=row.get("headline", ""),
                        text=row["text"],
                        rating=row["rating"],
                        scale=SCALE,
                        **lists,
                    )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        place = f"line {number} of {file}" if number else str(file)
        raise InputError(
            f"{place} cannot be read as a teacher's annotation ({_said(error)}); give JSON Lines, plain or gzip, with "
            f"item_id, text, rating and summary in each row"
        ) from None


def aspects(summary: str) -> dict[str, tuple[str, ...]]:
    """The lists of a teacher's summary by the names of the record's fields, each aspect by itself."""
    found = dict.fromkeys(HEADS.values(), "")
    for line in summary.splitlines():
        head, _, told = line.partition(":")
        if (name := HEADS.get(head.strip())) is not None:
            found[name] = told
    return {name: tuple(_parted(told)) for name, told in found.items()}


def _opened(file: Path) -> IO[str]:
    with file.open("rb") as beginning:
        packed = beginning.read(2) == b"\x1f\x8b"
    return gzip.open(file, "rt", encoding="utf-8") if packed else file.open(encoding="utf-8")


def _said(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error).strip().split("\n", 1)[0]


def _parted(told: str) -> Iterator[str]:
    """The parts between commas, but not within quotation marks or brackets: “No Woman, No Cry” is one song."""
    whole = not told.count('"') % 2
    part, depth, quoted = "", 0, False
    for char in f"{told},":
        quoted ^= whole and char == '"'
        depth += (char in _OPENS) - (char in _CLOSES)
        if char != "," or depth > 0 or quoted:
            part += char
            continue
        if (part := part.strip(" .")) and not _NOTHING.fullmatch(part):
            yield part
        part = ""
    if part := part.strip(" .,"):  # a bracket that nobody closed
        yield from (piece for each in part.split(",") if (piece := each.strip(" .")))
