"""Review summaries as an engine writes them when it is left to, but for their form: the comparison for the Summarizer.

The Summarizer judges phrases of the review. Here the same model writes the lists itself, after two worked examples
(`agents/prompts/review_summary.yaml`), held by a grammar to the form `Liked: a; b` and `Disliked: none`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from whylike.adapters.engines.base import Engine, Writing
from whylike.agents.phrases import LONGEST, WORDS
from whylike.agents.prompting import one_line, render
from whylike.agents.summarizer import KEPT
from whylike.records import Aspects, Expert, RatingScale, Review, ReviewSummary

MAX_TOKENS = 160
"""Enough for both lists at their fullest with words of two tokens."""
NONE = "none"
"""How an empty list is written (method: an empty list is written as none)."""
GRAMMAR = rf"""start: "Liked: " list "\nDisliked: " list
list: "{NONE}" | aspect ("; " aspect){{0,{KEPT - 1}}}
aspect: WORD (" " WORD){{0,{LONGEST - 1}}}
WORD: /[^\s;]{{1,24}}/
"""


def write_summaries(
    engine: Engine, reviews: Sequence[Review], scale: RatingScale, told: Callable[[int, int], None], batch: int = 8
) -> list[ReviewSummary]:
    """The summary that the summarizer expert of an engine writes of each review, in order.

    Args:
        engine: What writes.
        reviews: Of each the first words are read, as many as the Summarizer reads.
        scale: The scale of their ratings.
        told: Told after each batch how many are done, and how many there are.
        batch: Reviews asked for at once.

    Raises:
        EngineError: The engine failed.
    """
    made: list[ReviewSummary] = []
    for start in range(0, len(reviews), batch):
        some = reviews[start : start + batch]
        answers = engine.write([_asked(review, scale) for review in some])
        for review, answer in zip(some, answers, strict=True):
            likes, dislikes = read_lists(answer.text)
            made.append(
                ReviewSummary(
                    review_id=review.review_id,
                    likes=likes,
                    dislikes=dislikes,
                    adapter_version=answer.adapter_version,
                )
            )
        told(len(made), len(reviews))
    return made


def read_lists(text: str) -> tuple[Aspects, Aspects]:
    """The likes and dislikes of an answer; repeats, and what a full answer leaves no room for, are left out."""
    liked, _, disliked = text.partition("\nDisliked:")
    return tuple(_parts(liked.removeprefix("Liked:"))), tuple(_parts(disliked))


def _parts(line: str) -> Iterator[str]:
    for part in dict.fromkeys(part.strip() for part in line.split(";")):
        if part and part.lower() != NONE:
            yield part


def _asked(review: Review, scale: RatingScale) -> Writing:
    prompt = render(
        "review_summary",
        rating=f"{review.rating:g}",
        best=f"{scale.maximum:g}",
        text=one_line(f"{review.title}. {review.text}" if review.title else review.text, WORDS),
    )
    return Writing(expert=Expert.SUMMARIZER, prompt=prompt, max_tokens=MAX_TOKENS, grammar=GRAMMAR)
