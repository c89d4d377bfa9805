"""Examples for the Summarizer: reviews with a teacher's lists of aspects."""

from __future__ import annotations

from collections.abc import Iterable

from whylike.adapters.training.examples import Example
from whylike.agents import aspects
from whylike.records import Review, SummaryAnnotation

TIMES = ((0.25, 6), (0.5, 2))
"""How often the summary of a review with a rating up to a place on the scale (0 worst, 1 best) is learned in an epoch.
Bad ratings are few where people rate what they chose: without this, an adapter takes mockery for praise."""


def summary_examples(annotations: Iterable[SummaryAnnotation]) -> list[Example]:
    """What a teacher's summaries teach; those of one item form a group."""
    return [_example(annotation) for annotation in annotations]


def review_of(annotation: SummaryAnnotation) -> Review:
    """The review that a teacher summarised; who wrote it and when is not known."""
    return Review(
        review_id="",
        user_id="",
        item_id=annotation.item_id,
        rating=annotation.rating,
        title=annotation.title,
        text=annotation.text,
        timestamp=0,
    )


def _example(annotation: SummaryAnnotation) -> Example:
    lists = aspects.Lists(annotation.likes, annotation.dislikes, annotation.preferences)
    return Example(
        prompt=aspects.request(review_of(annotation), annotation.scale).prompt,
        answer=aspects.written(lists),
        group=annotation.item_id,
        times=_times(annotation),
    )


def _times(annotation: SummaryAnnotation) -> int:
    place = annotation.scale.place(annotation.rating)
    return next((times for limit, times in TIMES if place <= limit), 1)
