"""The Predictor learns from new reviews."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain

import numpy as np
from pydantic import JsonValue

from whylike.adapters.training.examples import Example
from whylike.adapters.training.ratings import rating_examples
from whylike.agents.calibration import Calibrator
from whylike.evaluation.asking import Asked, at_once, expectations, model_alone, unexplained
from whylike.evaluation.calibrating import fit
from whylike.evaluation.courses.base import Course, Reading, Sets, learned_until, pairs_of, rating_margin
from whylike.evaluation.figures import counted
from whylike.evaluation.judging import FROZEN, Compared, Floats, compare, root_mean_square
from whylike.evaluation.ratings import TRAINED
from whylike.graph.lessons import reasoner_of
from whylike.graph.pair import explain_fully
from whylike.graph.services import Services
from whylike.graph.tutor import Tutor
from whylike.memory.splits import Pair, folds, sample, split
from whylike.preparing import Told
from whylike.records import Expert


class Ratings(Course):
    """The Predictor learns from new reviews, each as of just before it was written.

    It is judged as `whylike explain --no-reason` answers: by its own expectation and by the calibrated one. Calibrators
    are fitted on the frozen set alone, for its own pairs on those of other users: what comes in does not move them. A
    reason is learned with where the store has one.
    """

    expert = Expert.PREDICTOR
    what = "reviews"

    def examples(self, services: Services, keys: Sequence[str], tutor: Tutor) -> list[Example]:
        """As of `Course`."""
        return rating_examples(
            services.store,
            self.expert,
            pairs_of(services.store, keys),
            reasoner=reasoner_of(services),
            mark=services.summarizer.mark,
            limit=services.settings.history,
            profile=services.settings.item_profile,
        )

    def made_with(self, services: Services, keys: Sequence[str], parent: str | None) -> dict[str, JsonValue]:
        """As of `Course`."""
        settings = services.settings
        told: dict[str, JsonValue] = {"history": settings.history, "item_profile": settings.item_profile}
        told |= {"reasoner": services.reasoner.mark, "summarizer": services.summarizer.mark}
        return told | learned_until(services, pairs_of(services.store, keys), parent)

    def read(self, services: Services, sets: Sets, told: Told) -> Reading:
        """As of `Course`."""
        asked = {
            on: at_once(partial(_unreasoned, services), pairs_of(services.store, keys), f"rating the {on} pairs", told)
            for on, keys in sets.items()
        }
        by_frozen = _calibrator(asked[FROZEN])
        off: dict[str, dict[str, Floats]] = {}
        for on, some in asked.items():
            given = np.array([each.pair.rating for each in some])
            known = [each.known for each in some]
            off.setdefault("RMSE", {})[on] = np.array(model_alone(known)) - given
            foretold = _crossed(some) if on == FROZEN else expectations(known, by_frozen)
            off.setdefault("calibrated RMSE", {})[on] = np.array(foretold) - given
        owners = {on: [each.pair.user_id for each in some] for on, some in asked.items()}
        return Reading(owners, off, _by_time(chain.from_iterable(asked.values())), services.mark)

    def compared(self, before: Reading, after: Reading, services: Services) -> list[Compared]:
        """As of `Course`; the margin is a share of the scale's length."""
        allowed = rating_margin(services)
        return [
            compare(on, figure, root_mean_square(off), root_mean_square(after.off[figure][on]), owners, allowed)
            for on, owners in before.owners.items()
            for figure, off in ((name, before.off[name][on]) for name in before.off)
        ]

    def settle(self, services: Services, before: Reading, after: Reading) -> None:
        """Where answers are calibrated, fit a calibrator for the new version too, by what none has learned from."""
        store = services.store
        if store.calibration(before.mark) is None:
            return
        earlier = split(store).training
        seen = [*(unexplained(services, pair) for pair in sample(earlier, TRAINED, seed=0)), *after.seen]
        calibrator = fit(
            [each.known for each in seen],
            [each.pair.rating for each in seen],
            counted([pair.rating for pair in earlier], store.scale),
            predictor=after.mark,
            newest=len(after.seen),
            owners=[each.pair.user_id for each in seen],
        )
        store.keep_calibration(after.mark, calibrator.model_dump_json())


def _unreasoned(services: Services, pair: Pair) -> Asked:
    """A pair as it is answered without a reason, as of just before its review."""
    _, known = explain_fully(services, pair.user_id, pair.item_id, as_of=pair.timestamp, with_reason=False)
    return Asked(pair, known, None)


def _crossed(asked: Sequence[Asked]) -> list[float]:
    """What calibrators that were fitted on the pairs of other users make of each pair."""
    found = [0.0] * len(asked)
    for fold in folds([each.pair.user_id for each in asked], 2, seed=0):
        others = [each for row, each in enumerate(asked) if row not in fold]
        if fold and others:
            made = expectations([asked[row].known for row in fold], _calibrator(others))
            for row, value in zip(fold, made, strict=True):
                found[row] = value
    return found


def _calibrator(asked: Sequence[Asked]) -> Calibrator:
    """One that is fitted on these pairs."""
    ordered = _by_time(asked)
    given = [each.pair.rating for each in ordered]
    known = [each.known for each in ordered]
    owners = [each.pair.user_id for each in ordered]
    return fit(known, given, counted(given, known[0].scale), owners=owners)


def _by_time(asked: Iterable[Asked]) -> list[Asked]:
    """The oldest first."""
    return sorted(asked, key=lambda each: (each.pair.timestamp, each.pair.review_id))
