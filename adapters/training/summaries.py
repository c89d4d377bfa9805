"""Examples for the Summarizer: reviews with a teacher's lists of aspects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from itertools import compress

from whylike.adapters.training.examples import Example
from whylike.agents import aspects
from whylike.agents.support import standing
from whylike.memory.quoting import same_text
from whylike.records import Review, SummaryAnnotation

TIMES = ((0.25, 6), (0.5, 2))
"""How often the summary of a review with a rating up to a place on the scale (0 worst, 1 best) is learned in an epoch.
Bad ratings are few where people rate what they chose: without this, an adapter takes mockery for praise."""


def summary_examples(
    annotations: Iterable[SummaryAnnotation], authors: Mapping[str, Set[str]] | None = None
) -> list[Example]:
    """What a teacher's summaries teach; those of one item form a group.

    A teacher read the whole review and put some of it in other words. Learned are the likes and dislikes whose words
    stand in what the student is shown, so that it does not learn to add to it.

    Args:
        annotations: The summaries.
        authors: Who wrote the reviews (`Store.authors`).
    """
    made = ((each, _example(each)) for each in annotations)
    return [
        example.model_copy(update={"users": frozenset((authors or {}).get(same_text(each.text), ()))})
        for each, example in made
        if example is not None
    ]


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


def _example(annotation: SummaryAnnotation) -> Example | None:
    review = review_of(annotation)
    shown = aspects.shown(review)
    likes, dislikes = (
        tuple(compress(listed, standing(listed, shown))) for listed in (annotation.likes, annotation.dislikes)
    )
    if not likes and not dislikes:
        return None
    lists = aspects.Lists(likes, dislikes, annotation.preferences)
    return Example(
        prompt=aspects.request(review, annotation.scale).prompt,
        answer=aspects.written(lists),
        group=annotation.item_id,
        times=_times(annotation),
    )


def _times(annotation: SummaryAnnotation) -> int:
    place = annotation.scale.place(annotation.rating)
    return next((times for limit, times in TIMES if place <= limit), 1)
