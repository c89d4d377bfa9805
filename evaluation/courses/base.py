"""How an expert goes on learning: what it learns from, and by which figures a new adapter of it is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from whylike.adapters.training.examples import Example
from whylike.adapters.training.ratings import EVER
from whylike.agents.calibration import Calibrator
from whylike.evaluation.asking import Asked
from whylike.evaluation.judging import Compared, Floats
from whylike.graph.services import Services
from whylike.graph.tutor import Tutor
from whylike.memory.learned import BEGINNING, Arrived
from whylike.memory.splits import Pair
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Expert

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


class Course(ABC):
    """How one expert goes on learning; but for what they say otherwise, from new reviews as they are."""

    expert: Expert
    what: str
    """What its examples are, in the plural."""

    def missing(self, services: Services) -> str:
        """What it cannot learn without, in a few words; empty where nothing is missing."""
        return ""

    def gather(self, services: Services, tutor: Tutor, since: int) -> None:  # noqa: B027 - most need none
        """Have made of what came in after an arrival what is to be learned from, before any of it is chosen."""

    def sources(self, store: Store, since: int, tutored: bool) -> int:
        """How much there is to learn from of what came in after an arrival, once a tutor has been at it, if any."""
        return sum(1 for _ in self.arrived(store, since))

    def arrived(self, store: Store, since: int = BEGINNING, until: int | None = None) -> Iterable[Arrived]:
        """What there is to learn from, of what came in between two arrivals, the newest first; to be read once."""
        return store.arrived_reviews(since, until)

    def made(self, store: Store, since: int, until: int) -> Iterable[Arrived]:
        """Those of these of which there is something to learn from, whatever a tutor does."""
        return self.arrived(store, since, until)

    def texts(self, store: Store, keys: Sequence[str]) -> dict[str, str]:
        """What the reviews say."""
        return {each.review_id: f"{each.title} {each.text}" for each in store.reviews(keys)}

    @abstractmethod
    def examples(self, services: Services, keys: Sequence[str], tutor: Tutor) -> list[Example]:
        """What they teach, with what the tutor has still to make of them."""

    @abstractmethod
    def made_with(self, services: Services, keys: Sequence[str], parent: str | None) -> dict[str, JsonValue]:
        """What the adapter's card says of how the examples were made."""

    @abstractmethod
    def read(self, services: Services, sets: Sets, told: Told) -> Reading:
        """Have the adapters that answer now say what they make of the sets. Raises `EngineError`."""

    @abstractmethod
    def compared(self, before: Reading, after: Reading, services: Services) -> list[Compared]:
        """The figures of the live adapter beside those of the new one."""

    def settle(self, services: Services, before: Reading, after: Reading) -> None:
        """Make sure before a promotion that what belongs to the live version is there for the new one.

        What calibrates the answers that are read now goes on with it: that weighs the Predictor's, and the Predictor is
        the same. `whylike evaluate ratings --keep` fits one anew.
        """
        kept = services.store.calibration(before.mark)
        if kept is not None and services.store.calibration(after.mark) is None:
            same = Calibrator.model_validate_json(kept).model_copy(update={"predictor": after.mark})
            services.store.keep_calibration(after.mark, same.model_dump_json())


def pairs_of(store: Store, keys: Sequence[str]) -> list[Pair]:
    """The pairs of some reviews."""
    return [
        Pair(each.review_id, each.user_id, each.item_id, each.rating, each.timestamp) for each in store.reviews(keys)
    ]


def learned_until(services: Services, pairs: Sequence[Pair], parent: str | None) -> dict[str, JsonValue]:
    """What a card says of how late the latest of the pairs is that an adapter learned from, or nothing if unknown."""
    times = [pair.timestamp for pair in pairs]
    if parent:
        times.append(services.registry.learned_until(parent) or EVER)
    until = max(times, default=EVER)
    return {"learned_until": until} if until < EVER else {}


def rating_margin(services: Services) -> float:
    """How much worse an error of ratings may be, in units of the scale."""
    scale = services.store.scale
    return services.settings.learn_margin * (scale.maximum - scale.minimum)
