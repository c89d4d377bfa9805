"""The Reasoner learns from reasons that the reward expert lets pass, a teacher's or its own.

Method: Reason4Rec's filter, once for each batch of new reviews; without a teacher it is rejection sampling.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import JsonValue

from whylike.adapters.training.examples import Example
from whylike.adapters.training.teach import reasons_to_learn
from whylike.evaluation.courses.base import Course, Reading, Sets, learned_until, pairs_of, rating_margin
from whylike.evaluation.judging import Compared, compare, root_mean_square, share
from whylike.evaluation.reasoning import reason_of
from whylike.graph import sides
from whylike.graph.filtering import rewarded, with_reviews
from whylike.graph.services import Services
from whylike.graph.tutor import Tutor
from whylike.memory.learned import BEGINNING, Arrived
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Expert

OFF, BORNE_OUT = "reward RMSE", "supported"
"""How far the reward expert is from the rating that was given when it reads the reason; and the share of the sentences,
as written, that reviews bear out: what convinces and is not true is no better."""


class Reasons(Course):
    """The Reasoner learns from reasons for the pairs of new reviews, and from what teachers wrote for who waited."""

    expert = Expert.REASONER
    what = "pairs and reasons"

    def missing(self, services: Services) -> str:
        """As of `Course`."""
        if Expert.REWARD.taught(services.engine.adapter_version(Expert.REWARD)):
            return ""
        return "no adapter is live for the reward expert, which judges reasons (`whylike train reward`)"

    def arrived(self, store: Store, since: int = BEGINNING, until: int | None = None) -> Iterable[Arrived]:
        """As of `Course`: a reason that a teacher wrote for somebody who waited has no rating to judge by."""
        told = [each._replace(judges=False) for each in reversed(store.arrived_reasons(since, until))]
        reviews = store.arrived_reviews(since, until)
        return heapq.merge(reviews, told, key=lambda each: (each.position, each.key), reverse=True)

    def made(self, store: Store, since: int, until: int) -> Iterable[Arrived]:
        """As of `Course`: reasons, and pairs for which one has been kept."""
        kept = {each.review_id for each in store.decisions().values() if each.annotation}
        return (each for each in self.arrived(store, since, until) if not each.judges or each.key in kept)

    def examples(self, services: Services, keys: Sequence[str], tutor: Tutor) -> list[Example]:
        """As of `Course`; a pair for which no reason passes teaches nothing."""
        store, wanted = services.store, set(keys)
        tutor.reason(with_reviews(services, pairs_of(store, keys)))
        decided = [each for each in store.decisions().values() if each.review_id in wanted]
        return reasons_to_learn(store, store.told_reasons(wanted), decided)

    def made_with(self, services: Services, keys: Sequence[str], parent: str | None) -> dict[str, JsonValue]:
        """As of `Course`."""
        told: dict[str, JsonValue] = {
            "history": services.settings.history,
            "reward": services.engine.adapter_version(Expert.REWARD),
            "summarizer": services.summarizer.mark,
        }
        # A parent whose card is silent learned from no pair that measures (`teach.examples_for`).
        known = parent if parent and services.registry.learned_until(parent) else None
        return told | learned_until(services, pairs_of(services.store, keys), known)

    def read(self, services: Services, sets: Sets, told: Told) -> Reading:
        """As of `Course`."""
        reading = Reading({}, {OFF: {}, BORNE_OUT: {}}, mark=services.mark)
        for on, keys in sets.items():
            reviews = services.store.reviews(keys)
            off, counts = [], []
            for done, review in enumerate(reviews):
                told(f"reasons for the {on} pairs", done, len(reviews))
                found = reason_of(services, review)
                known = sides.recalled(services, review.user_id, review.item_id, review.timestamp)
                text = found.reason.text if found.reason else None
                off.append(rewarded(services, known, text) - review.rating)
                borne_out = [each for each in found.reason.sentences if each.supported] if found.reason else []
                counts.append((len(borne_out), len(found.written)))
            reading.owners[on] = [each.user_id for each in reviews]
            reading.off[OFF][on] = np.array(off)
            reading.off[BORNE_OUT][on] = np.array(counts, dtype=float)
        return reading

    def compared(self, before: Reading, after: Reading, services: Services) -> list[Compared]:
        """As of `Course`; the margin of the first figure is a share of the scale's length."""
        margin, allowed = services.settings.learn_margin, rating_margin(services)
        found = []
        for on, owners in before.owners.items():
            off, borne = ((before.off[figure][on], after.off[figure][on]) for figure in (OFF, BORNE_OUT))
            found.append(compare(on, OFF, root_mean_square(off[0]), root_mean_square(off[1]), owners, allowed))
            kept = share(borne[0]), share(borne[1])
            found.append(compare(on, BORNE_OUT, *kept, owners, margin, higher_is_better=True))
        return found
