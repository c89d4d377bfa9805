"""How near review summaries come to a teacher's: aspect precision, recall and F1."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

from scipy.optimize import linear_sum_assignment

from whylike.agents.summarizer import Summarizer
from whylike.errors import InputError
from whylike.memory.embeddings import Embedder
from whylike.records import RatingScale, Record, Review

SAME = 0.6
"""Cosine from which two aspects are the same one (method: MiniLM cosine 0.6, one-to-one within a list)."""
WELL_JOINED = 0.2
"""Least `match` of a teacher's row: below about 0.15 some are joined to the wrong review."""
_LINE = re.compile(r"(Positive|Negative) Aspects: (.*)")


class AspectScore(Record):
    """Aspects of `reviews` reviews: how many were found, are in the teacher's summaries, and agree one-to-one."""

    reviews: int
    found: int
    wanted: int
    agreeing: int

    @property
    def precision(self) -> float:
        """Share of the found aspects that the teacher has too."""
        return self.agreeing / max(self.found, 1)

    @property
    def recall(self) -> float:
        """Share of the teacher's aspects that were found."""
        return self.agreeing / max(self.wanted, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.agreeing / max(self.found + self.wanted, 1)


def teacher_rows(file: Path, limit: int, seed: int) -> list[tuple[Review, list[str], list[str]]]:
    """A sample of the teacher's summaries: the review, its liked and its disliked aspects.

    Raises `InputError` where the file is missing or not of the documented shape (`review_summaries.jsonl.gz`).
    """
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            rows = [row for row in map(json.loads, lines) if row["match"] >= WELL_JOINED]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{file} cannot be read as teacher summaries ({error}); give the review_summaries.jsonl.gz of the teacher data"
        ) from None
    sample = random.Random(seed).sample(rows, min(limit, len(rows)))  # noqa: S311
    return [_teacher_row(str(number), row) for number, row in enumerate(sample)]


def score(summarizer: Summarizer, embedder: Embedder, rows: Sequence[tuple[Review, list[str], list[str]]]) -> AspectScore:
    """Summarise the reviews of `rows` and compare with the teacher's aspects, list by list."""
    made = summarizer.summarize([review for review, _, _ in rows], RatingScale())
    agreeing = found = wanted = 0
    for summary, (_, likes, dislikes) in zip(made, rows, strict=True):
        for ours, theirs in ((summary.likes, likes), (summary.dislikes, dislikes)):
            agreeing += _agreeing(embedder, ours, theirs)
            found += len(ours)
            wanted += len(theirs)
    return AspectScore(reviews=len(rows), found=found, wanted=wanted, agreeing=agreeing)


def _agreeing(embedder: Embedder, ours: Sequence[str], theirs: Sequence[str]) -> int:
    if not ours or not theirs:
        return 0
    close = embedder.embed(ours) @ embedder.embed(theirs).T
    rows, columns = linear_sum_assignment(-close)
    return int((close[rows, columns] >= SAME).sum())


def _teacher_row(review_id: str, row: dict[str, str | float]) -> tuple[Review, list[str], list[str]]:
    lists: dict[str, list[str]] = {"Positive": [], "Negative": []}
    for line in str(row["summary"]).splitlines():
        if found := _LINE.match(line):
            lists[found[1]] = [part.strip() for part in found[2].split(",") if part.strip() and "none" not in part.lower()]
    review = Review(
        review_id=review_id,
        user_id="teacher",
        item_id=review_id,
        rating=float(row["rating"]),
        text=str(row["text"]),
        timestamp=0,
    )
    return review, lists["Positive"], lists["Negative"]
