"""What a prediction has to beat: means, the damped bias and matrix factorisation (lenskit).

Means and bias are as of each pair (`memory.history`). The settings of matrix factorisation are chosen on the validation
tenth. It is shown both ways: as a running service has it, which trains it anew now and then and folds in what a user
has rated by the time of the pair, and trained once, with nothing later than the beginning of the test.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from whylike.agents.calibration import Readout
from whylike.memory.ranked import DAMPING
from whylike.memory.schema import reviews
from whylike.memory.splits import Pair, Split
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import RatingScale

if TYPE_CHECKING:
    from lenskit.als import BiasedMFScorer

FEATURES = (5, 20, 50)
REGULARISATIONS = (0.1, 0.3, 1.0)
"""What matrix factorisation is tuned over."""
EPOCHS = 15
TRAININGS = 5
"""Times that it is trained in the course of the test, each on all that is earlier."""


class Factorised(NamedTuple):
    """What matrix factorisation foretells."""

    folded: list[float]
    """Trained anew in the course of the test, and with what the user had rated by the time of the pair."""
    trained: list[float]
    """Trained once before the test."""
    features: int
    regularisation: float


def of_readouts(readouts: Sequence[Readout]) -> dict[str, list[float]]:
    """The baselines that are read off what is known of each pair; a mean that is not known is the general one."""
    return {
        "global": [each.general for each in readouts],
        "user_mean": [_or(each.user.average, each.general) for each in readouts],
        "item_mean": [_or(each.item.average, each.general) for each in readouts],
        "bias": [each.bias for each in readouts],
    }


def factorise(
    store: Store, parts: Split, validation: Sequence[Pair], test: Sequence[Pair], told: Told = lambda *_: None
) -> Factorised:
    """Tune matrix factorisation on validation pairs, and foretell pairs of the test with nothing later than each.

    Args:
        store: Where what a user rated before a pair is looked up.
        parts: All reviews.
        validation: The pairs that it is tuned on.
        test: The pairs to foretell, in the order of their times.
        told: Told of progress.
    """
    scale = store.scale
    before, at_test = _ratings_before(store, validation), _ratings_before(store, test)
    given = np.array([pair.rating for pair in validation])
    grid = list(product(FEATURES, REGULARISATIONS))
    errors = {}
    for done, (features, regularisation) in enumerate(grid):
        told("tuning matrix factorisation", done, len(grid))
        scorer = _trained(parts.training, features, regularisation)
        foretold = _foretold(scorer, validation, before, scale)
        errors[features, regularisation] = float(((np.array(foretold) - given) ** 2).mean())
    told("tuning matrix factorisation", len(grid), len(grid))
    features, regularisation = min(errors, key=lambda each: errors[each])
    folded: list[float] = []
    first = scorer = _trained(parts.earlier, features, regularisation)
    for number in range(TRAININGS):
        told("training matrix factorisation", number, TRAININGS)
        begin = parts.test[number * len(parts.test) // TRAININGS].timestamp
        end = parts.test[(number + 1) * len(parts.test) // TRAININGS].timestamp if number + 1 < TRAININGS else math.inf
        some = [row for row, pair in enumerate(test) if begin <= pair.timestamp < end]
        if number and some:
            known = [*parts.earlier, *(pair for pair in parts.test if pair.timestamp < begin)]
            scorer = _trained(known, features, regularisation)
        folded += _foretold(scorer, [test[row] for row in some], [at_test[row] for row in some], scale)
    told("training matrix factorisation", TRAININGS, TRAININGS)
    return Factorised(
        folded=folded,
        trained=_foretold(first, test, [{}] * len(test), scale),
        features=features,
        regularisation=regularisation,
    )


def _or(average: float | None, otherwise: float) -> float:
    return otherwise if average is None else average


def _trained(pairs: Sequence[Pair], features: int, regularisation: float) -> BiasedMFScorer:
    """A scorer fitted on ratings; of two ratings of one item by one user the later counts."""
    logging.getLogger("lenskit").setLevel(logging.ERROR)  # it warns where all ratings are alike
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd  # noqa: PLC0415 - seconds to import, as lenskit
        from lenskit.als import BiasedMFScorer  # noqa: PLC0415
        from lenskit.data import from_interactions_df  # noqa: PLC0415
        from lenskit.training import TrainingOptions  # noqa: PLC0415

        latest = {(pair.user_id, pair.item_id): pair.rating for pair in pairs}
        frame = pd.DataFrame(
            [(user, item, rating) for (user, item), rating in latest.items()], columns=["user_id", "item_id", "rating"]
        )
        scorer = BiasedMFScorer(features=features, regularization=regularisation, epochs=EPOCHS, damping=DAMPING)
        scorer.train(from_interactions_df(frame), TrainingOptions(rng=1))
    return scorer


def _foretold(
    scorer: BiasedMFScorer, pairs: Sequence[Pair], known: Sequence[Mapping[str, float]], scale: RatingScale
) -> list[float]:
    """Its ratings of pairs, given what each user had rated; those of its bias alone where it has no factors."""
    from lenskit.data import ItemList, RecQuery  # noqa: PLC0415 - as above

    foretold = []
    for pair, rated in zip(pairs, known, strict=True):
        history = ItemList(item_ids=list(rated), rating=list(rated.values())) if rated else None
        scores = scorer(RecQuery(user_id=pair.user_id, history_items=history), ItemList([pair.item_id])).scores()
        if scores is None or not np.isfinite(scores[0]):
            scores, _ = scorer.bias.compute_for_items(ItemList([pair.item_id]), pair.user_id, history)
        score = float(scores[0])
        foretold.append(min(max(score, scale.minimum), scale.maximum))
    return foretold


def _ratings_before(store: Store, pairs: Sequence[Pair]) -> list[dict[str, float]]:
    """For each pair what its user had rated before, but for the item itself: item to rating."""
    found = []
    with store.database.read() as connection:
        for pair in pairs:
            query = (
                select(reviews.c.item_id, reviews.c.rating)
                .where(
                    reviews.c.user_id == pair.user_id,
                    reviews.c.item_id != pair.item_id,
                    reviews.c.timestamp < pair.timestamp,
                )
                .order_by(reviews.c.timestamp, reviews.c.review_id)
            )
            found.append(dict(connection.execute(query).all()))
    return found
