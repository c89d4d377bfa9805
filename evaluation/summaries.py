"""How near review summaries come to a teacher's: aspect precision, recall and F1."""

from __future__ import annotations

import gzip
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from whylike.adapters.engines.base import Engine
from whylike.agents.summarizer import Summarizer
from whylike.errors import InputError
from whylike.evaluation.machine import EngineSettings, Machine, engine_settings, machine
from whylike.evaluation.writing import write_summaries
from whylike.memory.embeddings import Embedder
from whylike.preparing import Told
from whylike.records import RatingScale, Record, Review, ReviewSummary
from whylike.settings import Settings

SAME = 0.6
"""Cosine from which two aspects are the same one (method: MiniLM cosine 0.6, greedy one-to-one within a list)."""
WELL_JOINED = 0.2
"""Least `match` of a teacher's row: below about 0.15 some are joined to the wrong review."""
SCALE = RatingScale()
"""The scale of the ratings in the teacher's rows."""
AT_ONCE = 10
"""Reviews summarised between two pieces of news."""
_LINE = re.compile(r"(Positive|Negative) Aspects: (.*)")
_WORD = re.compile(r"\w+")


class TeacherRow(NamedTuple):
    """A review and what the teacher says that its writer liked and disliked."""

    review: Review
    likes: list[str]
    dislikes: list[str]


class AspectScore(Record):
    """How the likes and dislikes of some review summaries agree with a teacher's, one-to-one within a list."""

    precision: float = Field(description="Share of the found aspects that the teacher has too")
    recall: float = Field(description="Share of the teacher's aspects that were found")
    f1: float = Field(description="Harmonic mean of precision and recall")
    verbatim: float = Field(description="Share of the found aspects that stand word for word in their review")
    found: int
    wanted: int = Field(description="Aspects of the teacher")
    agreeing: int


class Way(Record):
    """One way to make summaries: how well it does, and how long it took for all reviews."""

    score: AspectScore
    seconds: float


class SummariesBench(Record):
    """The document that `whylike bench summaries --json` prints."""

    machine: Machine
    settings: EngineSettings
    reviews: int
    judged: Way = Field(description="The Summarizer: phrases of the review, their tone judged by the model")
    written: Way = Field(description="The same model, left to write the lists after two worked examples")


def bench_summaries(
    settings: Settings,
    engine: Engine,
    rows: Sequence[TeacherRow],
    told: Told = lambda *_: None,
) -> SummariesBench:
    """Summarise the reviews of `rows` in both ways and compare with the teacher's aspects.

    Args:
        settings: Those of the engine.
        engine: Whose summarizer expert is measured.
        rows: From `teacher_rows`; at least one.
        told: Told of progress: the step, how many reviews are done, and how many there are.

    Raises:
        EngineError: The model failed.
    """
    embedder = Embedder()
    summarizer = Summarizer(engine, embedder)
    reviews = [row.review for row in rows]
    ran_on = machine()
    told("loading the model", 0, 0)
    summarizer.summarize(reviews[:1], SCALE)

    def judged() -> list[ReviewSummary]:
        made: list[ReviewSummary] = []
        for start in range(0, len(reviews), AT_ONCE):
            made += summarizer.summarize(reviews[start : start + AT_ONCE], SCALE)
            told("judging phrases", len(made), len(reviews))
        return made

    def written() -> list[ReviewSummary]:
        return write_summaries(
            engine, reviews, SCALE, lambda done, total: told("writing lists", done, total), settings.batch
        )

    def way(make: Callable[[], list[ReviewSummary]]) -> Way:
        began = time.perf_counter()
        made = make()
        seconds = time.perf_counter() - began
        return Way(score=score(made, embedder, rows), seconds=round(seconds, 1))

    return SummariesBench(
        machine=ran_on,
        settings=engine_settings(settings, engine),
        reviews=len(rows),
        judged=way(judged),
        written=way(written),
    )


def teacher_rows(file: Path, limit: int, seed: int) -> list[TeacherRow]:
    """A sample of the teacher's summaries, the same for one seed.

    Raises:
        InputError: The file is missing or not of the documented shape (`review_summaries.jsonl.gz`).
    """
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            rows = [row for row in map(json.loads, lines) if row["match"] >= WELL_JOINED]
        sample = random.Random(seed).sample(rows, min(limit, len(rows)))  # noqa: S311 - not for secrets
        read = [_teacher_row(str(number), row) for number, row in enumerate(sample)]
        if not read:
            raise ValueError("it has no row that is joined well")
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} cannot be read as teacher summaries ({error}); give a review_summaries.jsonl.gz "
            f"with text, rating, summary and match in each row"
        ) from None
    return read


def score(made: Sequence[ReviewSummary], embedder: Embedder, rows: Sequence[TeacherRow]) -> AspectScore:
    """Compare summaries of the reviews of `rows`, in their order, with the teacher's aspects, list by list."""
    agreeing = found = wanted = verbatim = 0
    for summary, row in zip(made, rows, strict=True):
        review = f"{row.review.title} {row.review.text}"
        for ours, theirs in ((summary.likes, row.likes), (summary.dislikes, row.dislikes)):
            agreeing += _agreeing(embedder, ours, theirs)
            found += len(ours)
            wanted += len(theirs)
            verbatim += sum(_words(aspect) in _words(review) for aspect in ours)
    return AspectScore(
        precision=round(agreeing / max(found, 1), 4),
        recall=round(agreeing / max(wanted, 1), 4),
        f1=round(2 * agreeing / max(found + wanted, 1), 4),
        verbatim=round(verbatim / max(found, 1), 4),
        found=found,
        wanted=wanted,
        agreeing=agreeing,
    )


def _words(text: str) -> str:
    """The words of a text, each between spaces."""
    return f" {' '.join(_WORD.findall(text.lower()))} "


def _agreeing(embedder: Embedder, ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many pairs of the two lists mean the same, matched greedily: the closest pair first, no aspect twice."""
    if not ours or not theirs:
        return 0
    close = embedder.embed(ours) @ embedder.embed(theirs).T
    agreeing = 0
    while close.max(initial=-1.0) >= SAME:
        row, column = np.unravel_index(int(close.argmax()), close.shape)
        close[row, :] = close[:, column] = -1.0
        agreeing += 1
    return agreeing


def _teacher_row(review_id: str, row: dict[str, str | float]) -> TeacherRow:
    lists: dict[str, list[str]] = {"Positive": [], "Negative": []}
    for line in str(row["summary"]).splitlines():
        if found := _LINE.match(line):
            parts = [part.strip() for part in found[2].split(",")]
            lists[found[1]] = [part for part in parts if part and "none" not in part.lower()]
    review = Review(
        review_id=review_id,
        user_id="teacher",
        item_id=review_id,
        rating=float(row["rating"]),
        text=str(row["text"]),
        timestamp=0,
    )
    return TeacherRow(review, lists["Positive"], lists["Negative"])
