"""The Summarizer learns from new annotations, which a teacher makes of new reviews where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from pydantic import JsonValue

from whylike.adapters.training.arrived import FEWEST, choose, to_freeze
from whylike.adapters.training.examples import Example
from whylike.adapters.training.summaries import summary_examples
from whylike.evaluation import writing
from whylike.evaluation.courses.base import Course, Reading, Sets
from whylike.evaluation.judging import Compared, compare, f1
from whylike.evaluation.summaries import agreeing
from whylike.graph.annotating import FEWEST as WORDS
from whylike.graph.services import Services
from whylike.graph.tutor import Tutor
from whylike.memory.learned import BEGINNING, Arrived
from whylike.memory.quoting import same_text
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Expert, Review, SummaryAnnotation


class Summaries(Course):
    """The Summarizer learns from new annotations, and is judged by how its aspects agree with held-out ones."""

    expert = Expert.SUMMARIZER
    what = "annotations"

    def gather(self, services: Services, tutor: Tutor, since: int) -> None:
        """As of `Course`: a teacher summarizes new reviews, and old ones to judge by for good, where these are few."""
        if not tutor.teacher:
            return
        store, settings = services.store, services.settings

        def texts(keys: Sequence[str]) -> dict[str, str]:
            return {each.review_id: each.text for each in store.reviews(keys)}

        # Of all that came in, also of what is read already: a run that was killed meanwhile wants the same again.
        chosen = choose(store.worded_reviews(WORDS, since), (), texts, settings)
        wanted = [*chosen.new, *chosen.newest]
        before = self.arrived(store, BEGINNING, since)  # for the same reason without what came in since
        if not store.frozen(self.expert) and len(to_freeze(before, settings)) < FEWEST:
            wanted += to_freeze(store.worded_reviews(WORDS), settings)
        read, fresh = store.read_texts(), dict[str, Review]()
        for each in store.reviews(dict.fromkeys(wanted)):
            if (text := same_text(each.text)) not in read:
                fresh.setdefault(text, each)
        tutor.summarize(fresh.values())

    def sources(self, store: Store, since: int, tutored: bool) -> int:
        """As of `Course`."""
        unread = store.unread_reviews(WORDS, since) if tutored else ()
        return super().sources(store, since, tutored) + sum(1 for _ in unread)

    def arrived(self, store: Store, since: int = BEGINNING, until: int | None = None) -> list[Arrived]:
        """As of `Course`; of a text that several wrote it is not known whose it is."""
        found = store.numbered_summaries(since, until)
        authors = store.authors(each.text for _, each in found.values())
        whose = {key: authors.get(same_text(each.text), set()) for key, (_, each) in found.items()}
        return [
            Arrived(key, next(iter(whose[key])) if len(whose[key]) == 1 else "", each.item_id, number)
            for key, (number, each) in reversed(found.items())
        ]

    def texts(self, store: Store, keys: Sequence[str]) -> dict[str, str]:
        """As of `Course`."""
        found = store.arrived_summaries()
        return {key: found[key].text for key in keys if key in found}

    def examples(self, services: Services, keys: Sequence[str], tutor: Tutor) -> list[Example]:
        """As of `Course`."""
        written = _annotations(services.store, keys)
        return summary_examples(written, services.store.authors(each.text for each in written))

    def made_with(self, services: Services, keys: Sequence[str], parent: str | None) -> dict[str, JsonValue]:
        """As of `Course`."""
        return {}

    def read(self, services: Services, sets: Sets, told: Told) -> Reading:
        """As of `Course`."""
        reading = Reading({}, {"F1": {}}, mark=services.mark)
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


def _annotations(store: Store, keys: Sequence[str]) -> list[SummaryAnnotation]:
    """Annotations by their keys; those not in the store are left out."""
    found = store.arrived_summaries()
    return [found[key] for key in keys if key in found]


def _agreement(services: Services, draft: writing.Draft, wanted: SummaryAnnotation) -> tuple[int, int, int]:
    """How many likes and dislikes agree with the teacher's, were found, and were wanted."""
    pairs = ((draft.lists.likes, wanted.likes), (draft.lists.dislikes, wanted.dislikes))
    return (
        sum(agreeing(services.embedder, *lists) for lists in pairs),
        sum(len(own) for own, _ in pairs),
        sum(len(theirs) for _, theirs in pairs),
    )
