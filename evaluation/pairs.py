"""`whylike explain` against ratings that users gave: how far off it is, and how much of its reasons is supported.

Each pair is a review, asked about as of just before it was written, so that nothing later is seen.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field
from sqlalchemy import func, select

from whylike.errors import UsageError
from whylike.evaluation.machine import EngineSettings, Machine, engine_settings, machine
from whylike.evaluation.metrics import Difference, Error, difference, error
from whylike.graph.pair import Services, explain
from whylike.memory.schema import reviews
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Explanation, Record

EARLIER = 4
"""Earlier reviews that a pair's user has at least."""


class Asked(NamedTuple):
    """A review to foretell."""

    user_id: str
    item_id: str
    rating: float
    timestamp: int


class Figures(Record):
    """How near answers come to the ratings that were given, and how much of their reasons rests on reviews."""

    readouts: dict[str, Error] = Field(description="What is read off the predicted distribution")
    baselines: dict[str, Error] = Field(description="`bias`: the damped averages of the user and the item")
    differences: dict[str, Difference] = Field(description="`A-B`: RMSE of A less that of B on the same pairs")
    sentences: int = Field(description="Sentences of all reasons")
    supported: float | None = Field(description="Share of them that rest on a review; None where there are none")
    without_reason: int = Field(description="Pairs that got no reason")


class PairsBench(Figures):
    """The document that `whylike bench pairs --json` prints."""

    machine: Machine
    settings: EngineSettings
    seed: int
    pairs: int
    summaries_made: int = Field(description="Review summaries that the store did not have; they take most of the time")
    seconds_per_pair: float


def bench_pairs(services: Services, limit: int, seed: int, told: Told = lambda *_: None) -> PairsBench:
    """Explain random pairs of the store and compare with what their users gave. What is worked out stays in the store.

    Args:
        services: The store and the experts.
        limit: Most pairs.
        seed: Seed of the choice of pairs and of the bootstrap.
        told: Told of progress: the step, how many pairs are done, and how many there are.

    Raises:
        UsageError: No user in the store has enough reviews.
        StoreError: The store failed.
        EngineError: The model failed.
    """
    asked = sample(services.store, limit, seed)
    if not asked:
        raise UsageError(
            f"no user in {services.store.database.name} has {EARLIER + 1} reviews, and a pair needs a user who wrote "
            f"{EARLIER} before it; ingest reviews first, or name another store with --store"
        )
    ran_on = machine()
    # Loads the model, which is no part of a pair's time.
    services.summarizer.summarize(services.store.user_reviews(asked[0].user_id, 1), services.store.scale)
    summaries = services.store.counts().summaries
    began = time.perf_counter()
    answers = []
    for done, pair in enumerate(asked, start=1):
        answers.append(explain(services, pair.user_id, pair.item_id, as_of=pair.timestamp))
        told("explaining pairs", done, len(asked))
    seconds = time.perf_counter() - began
    return PairsBench(
        machine=ran_on,
        settings=engine_settings(services.settings, services.engine),
        seed=seed,
        pairs=len(asked),
        summaries_made=services.store.counts().summaries - summaries,
        seconds_per_pair=round(seconds / len(asked), 3),
        **dict(figures(asked, answers, seed)),
    )


def sample(store: Store, limit: int, seed: int) -> list[Asked]:
    """Random reviews whose users had written at least `EARLIER` before; the same for one seed and one store."""
    earlier = (func.rank().over(partition_by=reviews.c.user_id, order_by=reviews.c.timestamp) - 1).label("earlier")
    ranked = select(reviews.c.review_id, *(reviews.c[name] for name in Asked._fields), earlier).subquery()
    query = (
        select(*(ranked.c[name] for name in Asked._fields))
        .where(ranked.c.earlier >= EARLIER)
        .order_by(ranked.c.review_id)
        .execution_options(yield_per=1000)
    )
    chance = random.Random(seed)  # noqa: S311 - for variety, not for secrets
    with store.database.read() as connection:
        rows = (Asked(*row) for row in connection.execute(query))
        return heapq.nlargest(limit, rows, key=lambda _: chance.random())


def figures(asked: Sequence[Asked], answers: Sequence[Explanation], seed: int) -> Figures:
    """The figures of some answers, one for each review that was asked about; at least one."""
    real = [pair.rating for pair in asked]
    bias = [answer.rating.bias_baseline for answer in answers]
    readouts: dict[str, list[float]] = {
        "expectation": [answer.rating.expectation for answer in answers],
        "uncalibrated_expectation": [answer.rating.uncalibrated_expectation for answer in answers],
        "mode": [answer.rating.mode for answer in answers],
    }
    sentences = [sentence for answer in answers if answer.reason for sentence in answer.reason.sentences]
    return Figures(
        readouts={name: error(predicted, real) for name, predicted in readouts.items()},
        baselines={"bias": error(bias, real)},
        differences={f"{name}-bias": difference(predicted, bias, real, seed) for name, predicted in readouts.items()},
        sentences=len(sentences),
        supported=round(sum(each.supported for each in sentences) / len(sentences), 4) if sentences else None,
        without_reason=sum(answer.reason is None or not answer.reason.sentences for answer in answers),
    )
