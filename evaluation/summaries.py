"""How good review summaries are, beside those that a teacher made of reviews which no training has seen."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whylike.adapters.engines.base import Adapter, Engine
from whylike.adapters.training.summaries import review_of, summary_examples
from whylike.adapters.training.teach import held_out
from whylike.agents.aspects import Lists
from whylike.agents.closeness import cosines
from whylike.agents.summarizer import Summarizer, said
from whylike.agents.support import Source, distinct
from whylike.errors import UsageError
from whylike.evaluation import writing
from whylike.evaluation.machine import EngineSettings, Machine, engine_settings, machine
from whylike.evaluation.resampling import Estimate, Rows, estimate, strangers
from whylike.evaluation.writing import Draft
from whylike.memory.embeddings import Embedder
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Aspects, Expert, Record, SummaryAnnotation
from whylike.settings import Settings

SAME = 0.6
"""Cosine from which two aspects are the same one (method: MiniLM cosine 0.6, greedy one-to-one within a list)."""

Asked = Callable[[Sequence[SummaryAnnotation], writing.Told], list[Draft]]


class Agreement(Record):
    """How aspects agree with the teacher's, one-to-one within a list."""

    precision: float = Field(description="Share of the found aspects that the teacher has too")
    recall: float = Field(description="Share of the teacher's aspects that were found")
    f1: Estimate = Field(description="Harmonic mean of precision and recall; the interval is of drawing the items")
    found: int
    wanted: int = Field(description="Aspects of the teacher")
    agreeing: int


class Faults(Record):
    """What is wrong with aspects, whoever found them: shares of the likes and dislikes."""

    repeated: float = Field(description="Say again what another one of their summary says")
    invented: float = Field(description="Have no support in the review")
    invented_elsewhere: float | None = Field(
        description="Have none in the review of another item either: what the test finds where all is invented; "
        "None where there is only one item"
    )


class Way(Faults):
    """One way to make summaries."""

    adapter: str = Field(description="The version that answered")
    aspects: Agreement = Field(description="Of the likes and the dislikes")
    preferences: Agreement | None = Field(description="None where the way is not asked for them")
    rouge_l: float = Field(description="ROUGE-L (F) of the likes and dislikes, their order in the list counts")
    valid: float | None = Field(
        description="Share of the answers that have their form and were not cut off; None where none was written"
    )
    repeated_when_written: float | None = Field(
        description="`repeated` of what the model wrote, before anything was left out; None where it wrote nothing"
    )
    invented_when_written: float | None = Field(description="`invented` of the same")
    seconds: float = Field(description="For all reviews")


class SummariesEvaluation(Record):
    """The document that `whylike evaluate summaries --json` prints."""

    machine: Machine
    settings: EngineSettings
    seed: int
    reviews: int = Field(description="Of items of which no annotation is ever learned from")
    items: int
    ways: dict[str, Way] = Field(
        description="`adapter`: lists written by the adapter; `base judged`: phrases of the review, judged by the base "
        "model; `base written`: lists written by the base model after two examples"
    )
    teacher: Faults


class _Measured(NamedTuple):
    """What aspects are held against."""

    wanted: Sequence[SummaryAnnotation]
    sources: Sequence[Source]
    others: dict[int, int]
    """For each the number of a review of another item."""
    embedder: Embedder
    seed: int


def held_annotations(store: Store, limit: int | None, seed: int) -> list[SummaryAnnotation]:
    """The store's annotations of items that no training learns from, or a sample of them, the same for one seed.

    Raises:
        UsageError: There are none.
    """
    every = store.annotations(SummaryAnnotation)
    held = {example.group for example in held_out(summary_examples(every))[1]}
    found = [annotation for annotation in every if annotation.item_id in held]
    if not found:
        raise UsageError(
            f"{store.database.name} has no annotations to evaluate with ({len(every)} in all, and those of one item in "
            f"ten are held out); take in what a teacher wrote with `whylike annotate --import FILE`, or name another "
            f"store with --store"
        )
    if limit is not None and limit < len(found):
        found = random.Random(seed).sample(found, limit)  # noqa: S311 - not for secrets
    return found


def evaluate_summaries(
    settings: Settings,
    engine: Engine,
    wanted: Sequence[SummaryAnnotation],
    adapter: Adapter | None,
    *,
    base: bool = True,
    seed: int = 0,
    told: Told = lambda *_: None,
) -> SummariesEvaluation:
    """Summarise reviews in every way there is and compare with the teacher's summaries.

    Args:
        settings: Those of the engine.
        engine: Whose summarizer expert is measured; at the end the base model answers for it.
        wanted: From `held_annotations`; at least one.
        adapter: What was taught; None where nothing was.
        base: Whether the base model is measured too.
        seed: Seed of the intervals.
        told: Told of progress: the step, how many reviews are done, and how many there are.

    Raises:
        EngineError: The model failed, or the adapter does not load.
    """
    embedder = Embedder()
    sources = [Source(said(review_of(annotation)), embedder) for annotation in wanted]
    measured = _Measured(wanted, sources, strangers([[each.item_id] for each in wanted], seed), embedder, seed)
    ran_on, ran_with = machine(), engine_settings(settings, engine)

    ways: dict[str, Way] = {}

    def way(step: str, ask: Asked, *, preferences: bool = True) -> Way:
        version = engine.adapter_version(Expert.SUMMARIZER)
        if all(other.adapter != version for other in ways.values()):
            ask(wanted[:1], lambda *_: None)  # loads the model, which is no part of the time
        began = time.perf_counter()
        drafts = ask(wanted, lambda done, total: told(step, done, total))
        seconds = time.perf_counter() - began
        return _way(measured, drafts, version, seconds, preferences=preferences)

    if adapter:
        engine.adopt({Expert.SUMMARIZER: adapter})
        ran_with = engine_settings(settings, engine)
        ways["adapter"] = way(
            "the adapter writes", lambda some, news: writing.taught(engine, embedder, some, news, settings.batch)
        )
    if base:
        engine.adopt({})
        summarizer = Summarizer(engine, embedder)
        ways["base judged"] = way(
            "the base model judges phrases", lambda some, news: writing.judged(summarizer, some, news, settings.batch)
        )
        ways["base written"] = way(
            "the base model writes",
            lambda some, news: writing.shown(engine, some, news, settings.batch),
            preferences=False,
        )
    return SummariesEvaluation(
        machine=ran_on,
        settings=ran_with,
        seed=seed,
        reviews=len(wanted),
        items=len({annotation.item_id for annotation in wanted}),
        ways=ways,
        teacher=_faults(measured, [_both(annotation) for annotation in wanted]),
    )


def agreement(
    pairs: Sequence[Sequence[tuple[Aspects, Aspects]]], items: Sequence[str], embedder: Embedder, seed: int
) -> Agreement:
    """How lists agree with the teacher's.

    Args:
        pairs: For each review, at least one, its lists, each with the teacher's.
        items: What each review is of: those of one item are drawn together.
        embedder: Tells what means the same.
        seed: Seed of the interval.
    """
    counts = np.array(
        [
            [
                sum(each)
                for each in zip(*((agreeing(embedder, *lists), *map(len, lists)) for lists in review), strict=True)
            ]
            for review in pairs
        ]
    )

    def f1(rows: Rows) -> float:
        both, found, wanted = counts[rows].sum(axis=0)
        return float(2 * both / max(found + wanted, 1))

    both, found, wanted = map(int, counts.sum(axis=0))
    return Agreement(
        precision=round(both / max(found, 1), 4),
        recall=round(both / max(wanted, 1), 4),
        f1=estimate(len(pairs), f1, seed, groups=items),
        found=found,
        wanted=wanted,
        agreeing=both,
    )


def agreeing(embedder: Embedder, ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many pairs of the two lists mean the same, matched greedily: the closest pair first, no aspect twice."""
    if not ours or not theirs:
        return 0
    close: NDArray[np.float32] = cosines(embedder.embed(ours), embedder.embed(theirs))
    count = 0
    while close.max(initial=-1.0) >= SAME:
        row, column = np.unravel_index(int(close.argmax()), close.shape)
        close[row, :] = close[:, column] = -1.0
        count += 1
    return count


def rouge_l(made: Sequence[Aspects], wanted: Sequence[Aspects]) -> float:
    """The mean ROUGE-L (F) of lists, at least one, each as a text of its aspects in a row."""
    from torchmetrics.functional.text import rouge_score  # noqa: PLC0415 - seconds to import

    scores = rouge_score(list(map(" ".join, made)), list(map(" ".join, wanted)), rouge_keys="rougeL")
    return round(float(scores["rougeL_fmeasure"]), 4)


def _way(measured: _Measured, drafts: Sequence[Draft], adapter: str, seconds: float, *, preferences: bool) -> Way:
    made = [draft.lists for draft in drafts]
    told = [(lists.likes, annotation.likes) for lists, annotation in zip(made, measured.wanted, strict=True)]
    held = [(lists.dislikes, annotation.dislikes) for lists, annotation in zip(made, measured.wanted, strict=True)]
    items = [annotation.item_id for annotation in measured.wanted]
    cared = [[(lists.preferences, each.preferences)] for lists, each in zip(made, measured.wanted, strict=True)]
    written = [_both(draft.written) for draft in drafts if draft.written]
    answered = [draft.whole for draft in drafts if draft.whole is not None]
    return Way(
        **dict(_faults(measured, list(map(_both, made)))),
        adapter=adapter,
        aspects=agreement(list(zip(told, held, strict=True)), items, measured.embedder, measured.seed),
        preferences=agreement(cared, items, measured.embedder, measured.seed) if preferences else None,
        rouge_l=rouge_l(list(map(_both, made)), list(map(_both, measured.wanted))),
        valid=round(sum(answered) / len(answered), 4) if answered else None,
        repeated_when_written=_repeated(written, measured.embedder) if written else None,
        invented_when_written=_invented(measured, dict(enumerate(written))) if written else None,
        seconds=round(seconds, 1),
    )


def _faults(measured: _Measured, made: Sequence[Aspects]) -> Faults:
    return Faults(
        repeated=_repeated(made, measured.embedder),
        invented=_invented(measured, dict(enumerate(made))),
        invented_elsewhere=_invented(measured, {measured.others[row]: made[row] for row in measured.others})
        if measured.others
        else None,
    )


def _invented(measured: _Measured, made: Mapping[int, Aspects]) -> float:
    """The share of the aspects that have no support in the review of the number that they stand under."""
    found = [each for row, aspects in made.items() for each in measured.sources[row].supports(aspects)]
    return round(found.count(False) / max(len(found), 1), 4)


def _repeated(made: Sequence[Aspects], embedder: Embedder) -> float:
    return round(sum(distinct(aspects, embedder).count(False) for aspects in made) / max(sum(map(len, made)), 1), 4)


def _both(lists: Lists | SummaryAnnotation) -> Aspects:
    """The likes and then the dislikes."""
    return (*lists.likes, *lists.dislikes)
