"""Review summaries with what was written on the way to them: by an adapter that was taught, and by the base model.

Of the base model the Summarizer lets phrases of the review be judged. Here it can be left to write the lists itself,
after two worked examples (`agents/prompts/review_summary.yaml`), held by a grammar to `Liked: a; b` and
`Disliked: none`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from whylike.adapters.engines.base import Engine, Writing, Written
from whylike.adapters.training.summaries import review_of
from whylike.agents import aspects
from whylike.agents.aspects import LEADS, NONE, Lists
from whylike.agents.phrases import LONGEST
from whylike.agents.summarizer import KEPT, Summarizer, said
from whylike.agents.support import sound
from whylike.memory.embeddings import Embedder
from whylike.records import Expert, RatingScale, Review, SummaryAnnotation

MAX_TOKENS = 160
"""Enough for both lists at their fullest with words of two tokens."""
GRAMMAR = rf"""start: "Liked: " list "\nDisliked: " list
list: "{NONE}" | aspect ("; " aspect){{0,{KEPT - 1}}}
aspect: WORD (" " WORD){{0,{LONGEST - 1}}}
WORD: /[^\s;]{{1,24}}/
"""

Told = Callable[[int, int], None]
"""Told how many reviews are done, and how many there are."""


class Draft(NamedTuple):
    """A summary, and what was written on the way to it."""

    lists: Lists
    """As they are served."""
    written: Lists | None = None
    """As the model wrote them, with all that is left out; None where it wrote nothing."""
    whole: bool | None = None
    """Whether the answer had its form and was not cut off; None where there was none."""


def judged(summarizer: Summarizer, annotations: Sequence[SummaryAnnotation], told: Told, batch: int) -> list[Draft]:
    """What the Summarizer makes of each review where no adapter was taught. Raises `EngineError`."""
    made: list[Draft] = []
    for some in _batches(annotations, batch):
        for summary in summarizer.summarize([review_of(each) for each in some], some[0].scale):
            made.append(Draft(Lists(summary.likes, summary.dislikes, summary.preferences)))
        told(len(made), len(annotations))
    return made


def taught(
    engine: Engine, embedder: Embedder, annotations: Sequence[SummaryAnnotation], told: Told, batch: int
) -> list[Draft]:
    """What an adapter that was taught writes of each review. Raises `EngineError`."""
    drafts = _written(engine, annotations, aspects.request, LEADS, told=told, batch=batch)
    return [
        draft._replace(lists=sound(draft.lists, said(review_of(annotation)), embedder))
        for draft, annotation in zip(drafts, annotations, strict=True)
    ]


def shown(engine: Engine, annotations: Sequence[SummaryAnnotation], told: Told, batch: int) -> list[Draft]:
    """What an engine writes of each review after two examples; not asked for preferences. Raises `EngineError`."""
    return _written(engine, annotations, _request, LEADS[:2], told=told, batch=batch)


def _written(
    engine: Engine,
    annotations: Sequence[SummaryAnnotation],
    request: Callable[[Review, RatingScale], Writing],
    leads: Sequence[str],
    *,
    told: Told,
    batch: int,
) -> list[Draft]:
    made: list[Draft] = []
    for some in _batches(annotations, batch):
        answers = engine.write([request(review_of(each), each.scale) for each in some])
        made += [_draft(answer, leads) for answer in answers]
        told(len(made), len(annotations))
    return made


def _draft(answer: Written, leads: Sequence[str]) -> Draft:
    whole = answer.finish == "stop" and all(lead in answer.text for lead in leads)
    return Draft(aspects.read(answer.text), Lists(*(tuple(_parts(answer.text, lead)) for lead in LEADS)), whole)


def _parts(text: str, lead: str) -> Iterator[str]:
    """What stands after a lead, part by part."""
    line = text.partition(lead)[2].partition("\n")[0]
    for part in map(str.strip, line.split(";")):
        if part and part.lower() != NONE:
            yield part


def _batches(annotations: Sequence[SummaryAnnotation], batch: int) -> Iterator[Sequence[SummaryAnnotation]]:
    """The annotations in turn, those of one batch on the same scale."""
    start = 0
    for end in range(1, len(annotations) + 1):
        some = annotations[start:end]
        if len(some) == batch or end == len(annotations) or annotations[end].scale != some[0].scale:
            yield some
            start = end


def _request(review: Review, scale: RatingScale) -> Writing:
    prompt = aspects.about("review_summary", review, scale)
    return Writing(expert=Expert.SUMMARIZER, prompt=prompt, max_tokens=MAX_TOKENS, grammar=GRAMMAR)
