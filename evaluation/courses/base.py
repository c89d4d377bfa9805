"""How an expert goes on learning: what it learns from, and by which figures a new adapter of it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

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


class Course(Protocol):
    """How one expert goes on learning."""

    expert: Expert
    what: str
    """What its examples are, in the plural."""

    def missing(self, services: Services) -> str:
        """What it cannot learn without, in a few words; empty where nothing is missing."""
        ...

    def gather(self, services: Services, tutor: Tutor, since: int) -> None:
        """Have made of what came in after an arrival what is to be learned from, before any of it is chosen."""
        ...

    def sources(self, store: Store, since: int, tutored: bool) -> int:
        """How much there is to learn from of what came in after an arrival, once a tutor has been at it, if any."""
        ...

    def arrived(self, store: Store, since: int = BEGINNING, until: int | None = None) -> list[Arrived]:
        """What there is to learn from, of what came in between two arrivals, in that order."""
        ...

    def made(self, store: Store, since: int, until: int) -> list[Arrived]:
        """Those of these of which there is something to learn from, whatever a tutor does."""
        ...

    def texts(self, store: Store, keys: Sequence[str]) -> dict[str, str]:
        """What the reviews say."""
        ...

    def examples(self, services: Services, keys: Sequence[str], tutor: Tutor) -> list[Example]:
        """What they teach, with what the tutor has still to make of them."""
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


def keep_calibrator(services: Services, before: Reading, after: Reading) -> None:
    """Have the calibrator that answers are read with now go on with a new Summarizer or Reasoner.

    It weighs the Predictor's answers, and the Predictor is the same. `whylike evaluate ratings --keep` fits one anew.
    """
    kept = services.store.calibration(before.mark)
    if kept is not None and services.store.calibration(after.mark) is None:
        same = Calibrator.model_validate_json(kept).model_copy(update={"predictor": after.mark})
        services.store.keep_calibration(after.mark, same.model_dump_json())
