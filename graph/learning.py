"""`whylike learn`: from what came in since the last run to an adapter that answers, if it is not worse.

A run is noted before it begins, with the number of the latest arrival that belongs to it. So one that was killed is
taken up by the next: it chooses the same examples, the training goes on at its checkpoint, and what is trained is not
trained again. Nothing but the last step moves the pointer to what answers, and that follows a verdict that is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from whylike.adapters.registry.registry import Registry
from whylike.adapters.training.arrived import FEWEST, Chosen, choose, replayed, to_freeze
from whylike.adapters.training.teach import RECIPES, going_on, teach
from whylike.adapters.training.trainer import News
from whylike.errors import UsageError
from whylike.evaluation.courses import COURSES, Course, Reading, Sets
from whylike.evaluation.judging import FROZEN, NEWEST, Compared, Verdict, judge
from whylike.graph.services import Services
from whylike.memory.database import HeldError
from whylike.memory.learned import BEGINNING, LearningRun, learned_ranges
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Expert, Record
from whylike.settings import Settings

LEAST = 100
"""New examples from which a run is worth its while."""
GENTLER = 3.0
"""Times smaller than that of a training from nothing is the learning rate of one that goes on."""
BY = "whylike learn"
"""Who promotes."""


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
    compared: tuple[Compared, ...] = ()
    began_at: int | None = None
    seconds: float = 0.0


class Learning(Record):
    """The document that `whylike learn --json` prints, and `whylike learn history --json` of all runs."""

    runs: list[Outcome]


class Watching(NamedTuple):
    """Who is told of progress."""

    step: Told = lambda *_: None
    training: Callable[[News], None] = lambda _: None


QUIET = Watching()


class _Plan(NamedTuple):
    """What a run is to do."""

    since: int
    until: int
    parent: str | None
    frozen: list[str]
    chosen: Chosen
    replay: list[str]
    told: Outcome


def learn(
    settings: Settings,
    experts: Sequence[Expert],
    *,
    least: int = LEAST,
    dry_run: bool = False,
    watching: Watching = QUIET,
) -> Learning:
    """Have experts learn from what came in since their last runs, each if that is enough.

    Args:
        settings: Where the store is, and how a run learns (`learn_new` and the like).
        experts: Who.
        least: New examples from which one learns.
        dry_run: Say what would be learned from, and change nothing.
        watching: Told of progress.

    Raises:
        HeldError: Another process learns at the same store.
        UsageError: The training was refused, or the live adapter is none that training goes on from.
        EngineError: The model failed; the next run goes on where this one was.
    """
    with Services.open(settings) as services:
        if dry_run:
            return Learning(runs=[_planned(services, COURSES[each], least).told for each in experts])
        with services.store.database.exclusive("learning", waiting=False):
            return Learning(runs=[_learn(services, COURSES[each], least, watching) for each in experts])


def watch(
    settings: Settings,
    experts: Sequence[Expert],
    *,
    least: int = LEAST,
    watching: Watching = QUIET,
    pause: Callable[[float], None] = time.sleep,
) -> Generator[Outcome]:
    """Learn whenever enough has come in, and tell what came of each run, until nobody asks for more.

    Args:
        settings: As of `learn`, and how often to look.
        experts: Who.
        least: New examples from which one learns.
        watching: Told of progress.
        pause: Waits for so many seconds.

    Raises:
        UsageError: As of `learn`.
        EngineError: As of `learn`.
    """
    while True:
        with Store.open(settings) as store:
            due = [each for each in experts if _due(store, settings, COURSES[each], least)]
        if due:
            try:
                done = learn(settings, due, least=least, watching=watching)
            except HeldError:  # another one learns now; what it leaves is looked at next time
                pass
            else:
                yield from (each for each in done.runs if each.outcome != "waiting")
        pause(settings.learn_poll)


def history(store: Store) -> Learning:
    """What came of all runs, oldest first; one that is under way, or was broken off, is not among them."""
    return Learning(
        runs=[Outcome.model_validate_json(run.report) for run in store.learning_runs() if run.ended_at is not None]
    )


def _due(store: Store, settings: Settings, course: Course, least: int) -> bool:
    """Whether a run was broken off, or so much has come in that one is worth a look."""
    runs = store.learning_runs(course.expert)
    if runs and runs[-1].ended_at is None:
        return True
    return len(course.arrived(store, _since(Registry(settings, store), store, course.expert))) >= least


def _since(registry: Registry, store: Store, expert: Expert) -> int:
    """The latest arrival that is no news: what the last run, or the training of what is live, had to learn from."""
    ended = [run for run in store.learning_runs(expert) if run.outcome in {"promoted", "kept"}]
    if ended:
        return ended[-1].until
    live = registry.live_versions().get(expert)
    if live and store.learned_here(live):
        known = registry.card(live).made_with.get("arrivals")
        return known if isinstance(known, int) else BEGINNING
    return BEGINNING


def _planned(services: Services, course: Course, least: int) -> _Plan:
    """What a run would do, or why it would do nothing."""
    store, settings, expert = services.store, services.settings, course.expert
    runs = store.learning_runs(expert)
    begun = runs[-1] if runs and runs[-1].outcome == "under way" else None
    since = begun.since if begun else _since(services.registry, store, expert)
    until = begun.until if begun else store.arrivals()
    parent = services.registry.live_versions().get(expert)
    frozen = store.frozen(expert) or [*_to_freeze(store, course, settings, since, until)]

    def texts(keys: Sequence[str]) -> dict[str, str]:
        return course.texts(store, keys)

    arrived = course.arrived(store, since, until)
    chosen = choose(arrived, set(frozen), texts, settings)
    ranges = learned_ranges(runs) or [(BEGINNING, since)]
    old = [
        each
        for each in course.arrived(store, BEGINNING, since)
        if any(first < each.position <= last for first, last in ranges)
    ]
    count = round(len(chosen.new) * settings.learn_replay)
    replay = replayed(old, set(frozen), texts, settings, count=count, seed=max(since, 0))
    told = Outcome(
        expert=expert,
        outcome="would learn",
        why=f"{len(chosen.new):,} new {course.what} and {len(replay):,} old ones",
        parent=parent,
        arrived=len(arrived),
        new=len(chosen.new),
        replayed=len(replay),
        left_out=chosen.left_out,
        newest=len(chosen.newest),
        frozen=len(frozen),
    )
    enough = min(least, settings.learn_new)
    if len(chosen.new) < enough:
        why = f"there are {len(chosen.new):,} new {course.what} to learn from, and a run takes {enough:,}"
        told = told.model_copy(update={"outcome": "waiting", "why": why})
    elif min(len(chosen.newest), len(frozen)) < FEWEST:
        what, there = ("newest", chosen.newest) if len(chosen.newest) < FEWEST else ("held-out", frozen)
        why = f"there are {len(there):,} {what} {course.what} to judge by, and {FEWEST} are needed"
        told = told.model_copy(update={"outcome": "waiting", "why": why})
    return _Plan(since, until, parent, frozen, chosen, replay, told)


def _to_freeze(store: Store, course: Course, settings: Settings, since: int, until: int) -> dict[str, str]:
    """What the expert is to be judged by for good: of what is no news, unless that is too little."""
    before = to_freeze(course.arrived(store, BEGINNING, since), settings)
    return before if len(before) >= FEWEST else to_freeze(course.arrived(store, BEGINNING, until), settings)


def _learn(services: Services, course: Course, least: int, watching: Watching) -> Outcome:
    """One expert's run, or the rest of one that was broken off."""
    store, expert = services.store, course.expert
    began = time.monotonic()
    runs = store.learning_runs(expert)
    if runs and runs[-1].ended_at is None:
        live = services.registry.live_versions().get(expert)
        if runs[-1].outcome == "promoting":
            return _promote(services, runs[-1], Outcome.model_validate_json(runs[-1].report))
        if live != runs[-1].parent:  # its examples may be other ones now, and what it goes on from is not live
            _end(store, runs[-1], Outcome(expert=expert, outcome="failed", why="another version was promoted since"))
    plan = _planned(services, course, least)
    if plan.told.outcome == "waiting":
        return plan.told
    if not store.frozen(expert):
        store.freeze(expert, _to_freeze(store, course, services.settings, plan.since, plan.until))
    runs = store.learning_runs(expert)
    run = (
        runs[-1]
        if runs and runs[-1].outcome == "under way"
        else store.begin_learning(expert, since=plan.since, until=plan.until, parent=plan.parent)
    )
    keys = [*plan.chosen.new, *plan.replay]
    try:
        version = _taught(services, course, keys, plan, watching)
    except UsageError as error:
        _end(store, run, plan.told.model_copy(update={"outcome": "failed", "why": str(error)}))
        raise
    run = store.go_on_learning(run, "under way", version=version)
    sets = {NEWEST: plan.chosen.newest, FROZEN: plan.frozen}
    before, after = readings(services, course, (plan.parent, version), sets, watching.step)
    figures = course.compared(before, after, services)
    verdict = judge(figures)
    if verdict.promoted:
        course.settle(services, before, after)
    done = plan.told.model_copy(
        update={
            "version": version,
            "compared": tuple(figures),
            "outcome": "promoted" if verdict.promoted else "kept",
            "why": verdict.why,
            "seconds": round(time.monotonic() - began, 1),
        }
    )
    return _promote(services, run, done) if verdict.promoted else _end(store, run, done)


def _taught(services: Services, course: Course, keys: Sequence[str], plan: _Plan, watching: Watching) -> str:
    """The version that learned from the examples with these keys, going on from the live one."""
    recipe = RECIPES[course.expert]
    if plan.parent:
        gentle = recipe.model_copy(update={"rate": recipe.rate / GENTLER, "epochs": 1})
        recipe = going_on(gentle, services.registry, course.expert, plan.parent)
    return teach(
        course.expert,
        services.settings,
        services.store,
        course.examples(services, keys),
        recipe,
        command=f"whylike learn {course.expert}",
        parent=plan.parent,
        made_with={**course.made_with(services, keys, plan.parent), "arrivals": plan.until},
        told=watching.training,
    ).version


def readings(
    services: Services, course: Course, versions: tuple[str | None, str], sets: Sets, told: Told
) -> tuple[Reading, Reading]:
    """What a new adapter makes of examples, after what the one does that it went on from, in this process alone.

    Args:
        services: The store and the experts; the other experts are the live ones.
        course: Whose they are.
        versions: The one to compare with, None for the base model alone, and the new one.
        sets: Sets of examples to ask both about.
        told: Told of progress.

    Raises:
        EngineError: The model failed.
    """
    registry, expert = services.registry, course.expert
    with services.query():
        live = registry.live()
        others = {each: adapter for each, adapter in live.items() if each is not expert}
        found = []
        try:
            for each in versions:
                services.engine.adopt(others | (registry.adapters({expert: each}) if each else {}))
                found.append(course.read(services, sets, told))
        finally:
            services.engine.adopt(live)
    before, after = found
    return before, after


def _promote(services: Services, run: LearningRun, done: Outcome) -> Outcome:
    """Have the new version answer, unless something has happened since it was judged.

    The verdict is kept before the pointer moves, so that a kill between the two leaves nothing open.
    """
    store, version = services.store, done.version
    assert version is not None  # what is promoted was trained
    live = services.registry.live_versions().get(run.expert)
    verdict = Verdict(promoted=True, why=done.why)
    if store.saw_forgotten(version) > (store.saw_forgotten(run.parent) if run.parent else 0):
        verdict = Verdict(promoted=False, why="a user that it learned from has been forgotten since")
    elif live not in {run.parent, version}:
        verdict = Verdict(promoted=False, why="another version was promoted while it learned")
    if not verdict.promoted:
        return _end(store, run, done.model_copy(update={"outcome": "kept", "why": verdict.why}))
    store.go_on_learning(run, "promoting", version=version, report=done.model_dump_json())
    services.registry.promote(version, BY)
    return _end(store, run, done)


def _end(store: Store, run: LearningRun, done: Outcome) -> Outcome:
    """Note what came of a run."""
    told = done.model_copy(update={"run_id": run.run_id, "began_at": run.began_at, "parent": run.parent})
    outcome: Literal["promoted", "kept", "failed"] = "kept"
    if done.outcome in {"promoted", "failed"}:
        outcome = done.outcome
    store.go_on_learning(run, outcome, version=done.version, report=told.model_dump_json())
    return told
