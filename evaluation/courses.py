"""What each expert that goes on learning learns from, and by which figures a new adapter of it is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import JsonValue

from whylike.adapters.training.examples import Example
from whylike.adapters.training.ratings import EVER, rating_examples
from whylike.adapters.training.summaries import summary_examples
from whylike.agents.calibration import Calibrator
from whylike.evaluation import writing
from whylike.evaluation.asking import Asked, at_once, expectations, model_alone, unexplained
from whylike.evaluation.calibrating import fit
from whylike.evaluation.figures import counted
from whylike.evaluation.judging import FROZEN, Compared, Floats, compare, f1, root_mean_square
from whylike.evaluation.ratings import TRAINED
from whylike.evaluation.summaries import agreeing
from whylike.graph.lessons import reasoner_of
from whylike.graph.pair import explain_fully
from whylike.graph.services import Services
from whylike.memory.learned import BEGINNING, Arrived
from whylike.memory.quoting import same_text
from whylike.memory.splits import Pair, folds, sample, split
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Expert, SummaryAnnotation

Sets = Mapping[str, Sequence[str]]
"""The keys of the examples of each set to judge by, the frozen one among them."""


class Reading(NamedTuple):
    """What the adapters that answer now make of the sets, for `Course.compared` alone to know."""

    owners: dict[str, list[str]]
    off: dict[str, dict[str, Floats]]
    """By figure and set, a row for each example."""
    seen: Sequence[Asked] = ()
    """Pairs that were asked about, oldest first."""
    mark: str = ""
    """What a calibrator of these answers is kept for (`Services.mark`)."""


class Course(Protocol):
    """How one expert goes on learning."""

    expert: Expert
    what: str
    """What its examples are, in the plural."""

    def arrived(self, store: Store, since: int = BEGINNING, until: int | None = None) -> list[Arrived]:
        """What there is to learn from, of what came in between two arrivals, in that order."""
        ...

    def texts(self, store: Store, keys: Sequence[str]) -> dict[str, str]:
        """What the reviews say."""
        ...

    def examples(self, services: Services, keys: Sequence[str]) -> list[Example]:
        """What they teach."""
        ...

    def made_with(self, services: Services, keys: Sequence[str], parent: str | None) -> dict[str, JsonValue]:
        """What the adapter's card says of how the examples were made."""
        ...

    def read(self, services: Services, sets: Sets, told: Told) -> Reading:
        """Have the adapters that answer now say what they make of the sets. Raises `EngineError`."""
        ...

    def compared(self, before: Reading, after: Reading, services: Services) -> list[Compared]:
        """The figures of the live adapter beside those of the new one."""
        ...

    def settle(self, services: Services, before: Reading, after: Reading) -> None:
        """Make sure before a promotion that what belongs to the live version is there for the new one."""
        ...


class Ratings:
    """The Predictor learns from new reviews, each as of just before it was written.

    It is judged as `whylike explain --no-reason` answers: by its own expectation and by the calibrated one. Calibrators
    are fitted on the frozen set alone, for its own pairs on those of other users: what comes in does not move them. A
    reason is learned with where the store has one.
    """

    expert = Expert.PREDICTOR
    what = "reviews"

    def arrived(self, store: Store, since: int = BEGINNING, until: int | None = None) -> list[Arrived]:
        """As of `Course`."""
        return store.arrived_reviews(since, until)

    def texts(self, store: Store, keys: Sequence[str]) -> dict[str, str]:
        """As of `Course`."""
        return {each.review_id: f"{each.title} {each.text}" for each in store.reviews(keys)}

    def examples(self, services: Services, keys: Sequence[str]) -> list[Example]:
        """As of `Course`."""
        return rating_examples(
            services.store,
            self.expert,
            _pairs(services.store, keys),
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
        times = [pair.timestamp for pair in _pairs(services.store, keys)]
        if parent:
            times.append(services.registry.learned_until(parent) or EVER)
        if (until := max(times)) < EVER:  # or nobody knows
            told["learned_until"] = until
        return told

    def read(self, services: Services, sets: Sets, told: Told) -> Reading:
        """As of `Course`."""
        asked = {
            on: at_once(partial(_unreasoned, services), _pairs(services.store, keys), f"rating the {on} pairs", told)
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
        scale = services.store.scale
        allowed = services.settings.learn_margin * (scale.maximum - scale.minimum)
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


class Summaries:
    """The Summarizer learns from new annotations, and is judged by how its aspects agree with held-out ones."""

    expert = Expert.SUMMARIZER
    what = "annotations"

    def arrived(self, store: Store, since: int = BEGINNING, until: int | None = None) -> list[Arrived]:
        """As of `Course`; of a text that several wrote it is not known whose it is."""
        found = store.numbered_summaries(since, until)
        authors = store.authors(each.text for _, each in found.values())
        whose = {key: authors.get(same_text(each.text), set()) for key, (_, each) in found.items()}
        return [
            Arrived(key, next(iter(whose[key])) if len(whose[key]) == 1 else "", each.item_id, number)
            for key, (number, each) in found.items()
        ]

    def texts(self, store: Store, keys: Sequence[str]) -> dict[str, str]:
        """As of `Course`."""
        return {key: each.text for key, each in zip(keys, _annotations(store, keys), strict=True)}

    def examples(self, services: Services, keys: Sequence[str]) -> list[Example]:
        """As of `Course`."""
        written = _annotations(services.store, keys)
        return summary_examples(written, services.store.authors(each.text for each in written))

    def made_with(self, services: Services, keys: Sequence[str], parent: str | None) -> dict[str, JsonValue]:
        """As of `Course`."""
        return {}

    def read(self, services: Services, sets: Sets, told: Told) -> Reading:
        """As of `Course`."""
        reading = Reading({}, {"F1": {}})
        for on, keys in sets.items():
            wanted = _annotations(services.store, keys)
            news = partial(told, f"summarizing the {on} reviews")
            batch = services.settings.batch
            if services.summarizer.taught:
                drafts = writing.taught(services.engine, services.embedder, wanted, news, batch)
            else:
                drafts = writing.judged(services.summarizer, wanted, news, batch)
            reading.owners[on] = [each.item_id for each in wanted]
            reading.off["F1"][on] = np.array(
                [_agreement(services, draft, each) for draft, each in zip(drafts, wanted, strict=True)], dtype=float
            )
        return reading

    def compared(self, before: Reading, after: Reading, services: Services) -> list[Compared]:
        """As of `Course`."""
        margin = services.settings.learn_margin
        return [
            compare(on, "F1", f1(counts), f1(after.off["F1"][on]), before.owners[on], margin, higher_is_better=True)
            for on, counts in before.off["F1"].items()
        ]

    def settle(self, services: Services, before: Reading, after: Reading) -> None:
        """As of `Course`: nothing belongs to it."""


COURSES: dict[Expert, Course] = {course.expert: course for course in (Summaries(), Ratings())}
"""The experts that go on learning, in the order in which they do: the Predictor reads what the Summarizer wrote."""


def _pairs(store: Store, keys: Sequence[str]) -> list[Pair]:
    """The pairs of some reviews."""
    return [
        Pair(each.review_id, each.user_id, each.item_id, each.rating, each.timestamp) for each in store.reviews(keys)
    ]


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


def _annotations(store: Store, keys: Sequence[str]) -> list[SummaryAnnotation]:
    """Annotations by their keys."""
    found = store.arrived_summaries()
    return [found[key] for key in keys]


def _agreement(services: Services, draft: writing.Draft, wanted: SummaryAnnotation) -> tuple[int, int, int]:
    """How many likes and dislikes agree with the teacher's, were found, and were wanted."""
    pairs = ((draft.lists.likes, wanted.likes), (draft.lists.dislikes, wanted.dislikes))
    return (
        sum(agreeing(services.embedder, *lists) for lists in pairs),
        sum(len(own) for own, _ in pairs),
        sum(len(theirs) for _, theirs in pairs),
    )
