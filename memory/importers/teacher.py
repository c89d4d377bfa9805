"""Reading what a teacher wrote: JSON Lines, plain or gzip.

A row of review summaries has a review (`text`, `rating`, `item_id`, perhaps `headline`) and its `summary`, three lines
of aspects as Reason4Rec has them, and perhaps `match`: how surely the two belong together. A row of reasons has the
item's `title`, the `reason`, and what the teacher was shown: `user_history` and `item_history`, summaries of this form
one after another.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from whylike.errors import InputError
from whylike.memory.annotations import Annotation
from whylike.records import RatingScale, ReasonAnnotation, SummaryAnnotation

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
    r"(?:none|n/?a|nothing|not? (?:\w+ ){0,2}(?:mentioned|specified|stated|given|found|provided|applicable|aspects?))\b"
    r"(?:\W+(?:\w+ )?(?:mentioned|specified|stated|given|found|aspects?).*)?",
    re.IGNORECASE,
)
"""How a teacher says that there is nothing; “no filler” says something."""
_OPENS, _CLOSES = "([“", ")]”"
_UNREADABLE = (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What comes of a file that is damaged, or of a row that is not of either shape."""


def read_annotations(file: Path, passed: Callable[[int], object] = lambda _: None) -> Iterator[Annotation]:
    """The annotations of a file; rows that are joined badly, or say nothing, are left out.

    Args:
        file: JSON Lines, plain or gzip.
        passed: Told the line of each row that is left out.

    Raises:
        InputError: It cannot be read, or a row is not of this shape; the error names the line.
    """
    number = 0
    try:
        with _opened(file) as lines:
            for line in lines:
                number += 1
                if not line.strip():
                    continue
                row = json.loads(line)
                read = _reason(row) if {"reason", "user_history"} & row.keys() else _summary(row)
                if read is None:
                    passed(number)
                else:
                    read.model_dump_json().encode()  # what cannot be kept, such as half a character, is told here
                    yield read
    except FileNotFoundError:
        raise InputError(f"{file} does not exist; check the name") from None
    except _UNREADABLE as error:
        place = f"line {number} of {file}" if number else str(file)
        raise InputError(
            f"{place} cannot be read as a teacher's annotation ({_said(error)}); give JSON Lines, plain or gzip, with "
            f"item_id, text, rating and summary, or title, user_history, item_history and reason, in each row"
        ) from None


def _summary(row: dict[str, Any]) -> SummaryAnnotation | None:
    lists = aspects(row["summary"])
    if row.get("match", 1) < WELL_JOINED or not (lists["likes"] or lists["dislikes"]):
        return None
    rating = float(row["rating"])
    if not SCALE.minimum <= rating <= SCALE.maximum:  # neither is what is no number
        raise ValueError(f"the rating {rating:g} is not from {SCALE.minimum:g} to {SCALE.maximum:g}")
    return SummaryAnnotation(
        item_id=row["item_id"], title=row.get("headline") or "", text=row["text"], rating=rating, scale=SCALE, **lists
    )


def _reason(row: dict[str, Any]) -> ReasonAnnotation | None:
    user, item = aspects(row["user_history"]), aspects(row["item_history"])
    text = " ".join(row["reason"].split()).strip("\"'” ")
    if not text:
        return None
    return ReasonAnnotation(
        title=row["title"],
        user_likes=user["likes"],
        user_dislikes=user["dislikes"],
        user_preferences=user["preferences"],
        item_likes=item["likes"],
        item_dislikes=item["dislikes"],
        text=text,
    )


def aspects(summary: str) -> dict[str, tuple[str, ...]]:
    """The lists of a teacher's summaries by the names of the record's fields, each aspect by itself."""
    found: dict[str, list[str]] = {name: [] for name in HEADS.values()}
    for line in summary.splitlines():
        head, _, told = line.partition(":")
        if (name := HEADS.get(head.strip())) is not None:
            found[name] += _parted(told)
    return {name: tuple(told) for name, told in found.items()}


def _opened(file: Path) -> IO[str]:
    with file.open("rb") as beginning:
        packed = beginning.read(2) == b"\x1f\x8b"
    return gzip.open(file, "rt", encoding="utf-8-sig") if packed else file.open(encoding="utf-8-sig")


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no {error}"
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).strip().split("\n", 1)[0]


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
