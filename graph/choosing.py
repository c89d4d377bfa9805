"""What a run of `whylike learn` is to do: what came in since the last one, and what of it is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from whylike.adapters.registry.registry import Registry
from whylike.adapters.training.arrived import FEWEST, Chosen, choose, replayed, to_freeze
from whylike.evaluation.courses.base import Course
from whylike.evaluation.judging import Compared
from whylike.graph.services import Services
from whylike.memory.learned import BEGINNING, LearningRun, learned_ranges
from whylike.memory.store import Store
from whylike.records import Expert, Record
from whylike.settings import Settings


class Outcome(Record):
    """What came of a run for one expert, or why there was none."""

    run_id: int | None = None
    expert: Expert
    outcome: Literal["promoted", "kept", "failed", "waiting", "would learn"]
    why: str
    parent: str | None = Field(default=None, description="What was live before; null is the base model alone")
    version: str | None = Field(default=None, description="What was trained")
    arrived: int = Field(default=0, description="What came in since the last run")
    new: int = Field(default=0, description="Learned from, of what came in")
    replayed: int = Field(default=0, description="Old examples that were mixed in")
    left_out: dict[str, int] = Field(default={}, description="Of what came in, by why")
    newest: int = Field(default=0, description="Held back of what came in, to judge by")
    frozen: int = Field(default=0, description="What every run is judged by and none learns from")
    notes: tuple[str, ...] = Field(default=(), description="What was made for it to learn from, and what was not")
    compared: tuple[Compared, ...] = ()
    began_at: int | None = None
    seconds: float = 0.0


class Plan(NamedTuple):
    """What a run is to do."""

    since: int
    until: int
    parent: str | None
    frozen: list[str]
    to_freeze: dict[str, str]
    """What of these is to be settled first, each with whose it is: all or nothing."""
    chosen: Chosen
    replay: list[str]
    told: Outcome


def broken_off(runs: Sequence[LearningRun]) -> LearningRun | None:
    """The last of an expert's runs, if it was broken off, or waits for more to learn from."""
    return runs[-1] if runs and runs[-1].ended_at is None else None


def there(store: Store, settings: Settings, course: Course, *, tutored: bool) -> int:
    """How much there may be to learn from of what came in since the last run."""
    runs = store.learning_runs(course.expert)
    return course.sources(store, since_last(Registry(settings, store), store, course.expert, runs), tutored)


def enough(least: int, settings: Settings) -> int:
    """How many new examples a run takes at least."""
    return min(least, settings.learn_new)


def since_last(registry: Registry, store: Store, expert: Expert, runs: Sequence[LearningRun]) -> int:
    """The latest arrival that is no news: what the last run, or the training of what is live, had to learn from."""
    ended = [run for run in runs if run.outcome in {"promoted", "kept"}]
    if ended:
        return ended[-1].until
    live = registry.live_versions().get(expert)
    if live and store.learned_here(live):
        known = registry.card(live).made_with.get("arrivals")
        return known if isinstance(known, int) else BEGINNING
    return BEGINNING


def planned(services: Services, course: Course, least: int) -> Plan:
    """What a run would do, or why it would do nothing."""
    store, settings, expert = services.store, services.settings, course.expert
    runs = store.learning_runs(expert)
    begun = broken_off(runs)
    since = begun.since if begun else since_last(services.registry, store, expert, runs)
    until = begun.until if begun else store.arrivals()
    parent = services.registry.live_versions().get(expert)
    settled = store.frozen(expert)
    freezing = {} if settled else _to_freeze(store, course, settings, since, until)
    frozen = settled or [*freezing]

    def texts(keys: Sequence[str]) -> dict[str, str]:
        return course.texts(store, keys)

    chosen = choose(course.arrived(store, since, until), set(frozen), texts, settings)
    ranges = learned_ranges(runs) or [(BEGINNING, since)]
    old = (
        each
        for each in course.made(store, BEGINNING, since)
        if any(first < each.position <= last for first, last in ranges)
    )
    count = round(len(chosen.new) * settings.learn_replay)
    replay = replayed(old, chosen.judged, texts, settings, count=count, seed=max(since, 0))
    told = Outcome(
        expert=expert,
        outcome="would learn",
        why=f"{len(chosen.new):,} new {course.what} and {len(replay):,} old ones",
        parent=parent,
        arrived=chosen.arrived,
        new=len(chosen.new),
        replayed=len(replay),
        left_out=chosen.left_out,
        newest=len(chosen.newest),
        frozen=len(frozen),
    )
    if missing := course.missing(services):
        told = told.model_copy(update={"outcome": "waiting", "why": missing})
    elif len(chosen.new) < (wanted := enough(least, settings)):
        why = f"there are {len(chosen.new):,} new {course.what} to learn from, and a run takes {wanted:,}"
        told = told.model_copy(update={"outcome": "waiting", "why": why})
    elif min(len(chosen.newest), len(frozen)) < FEWEST:
        what, judging = ("newest", chosen.newest) if len(chosen.newest) < FEWEST else ("held-out", frozen)
        why = f"there are {len(judging):,} {what} {course.what} to judge by, and {FEWEST} are needed"
        told = told.model_copy(update={"outcome": "waiting", "why": why})
    return Plan(since, until, parent, frozen, freezing, chosen, replay, told)


def _to_freeze(store: Store, course: Course, settings: Settings, since: int, until: int) -> dict[str, str]:
    """What the expert is to be judged by for good: of what is no news, unless that is too little."""
    before = to_freeze(course.arrived(store, BEGINNING, since), settings)
    return before if len(before) >= FEWEST else to_freeze(course.arrived(store, BEGINNING, until), settings)
