"""`whylike learn`: from what came in since the last run to an adapter that answers, if it is not worse.

A run is noted before it begins, with the number of the latest arrival that belongs to it, and again when all that it
learns from has been made. So one that was killed is taken up by the next: it chooses the same examples, the training
goes on at its checkpoint, and what is trained is not trained again. Nothing but the last step moves the pointer to what
answers, and that follows a verdict that is kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Literal, NamedTuple

from pydantic import JsonValue

from whylike.adapters.registry.registry import Registry
from whylike.adapters.training.examples import Example
from whylike.adapters.training.teach import RECIPES, going_on, teach
from whylike.adapters.training.trainer import News
from whylike.errors import UsageError
from whylike.evaluation.courses import COURSES
from whylike.evaluation.courses.base import Course, Reading, Sets
from whylike.evaluation.judging import FROZEN, NEWEST, Verdict, judge
from whylike.graph.choosing import Outcome, Plan, broken_off, enough, planned, since_last, there
from whylike.graph.services import Services
from whylike.graph.tutor import Tutor, Who
from whylike.memory.database import HeldError
from whylike.memory.learned import LearningRun
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Expert, Record
from whylike.settings import Settings

LEAST = 100
"""New examples from which a run is worth its while."""
GENTLER = 3.0
"""Times smaller than that of a training from nothing is the learning rate of one that goes on."""
MORE = 0.1
"""Share of the new examples that a run takes after which one that was in vain is tried again."""
BY = "whylike learn"
"""Who promotes."""


class Learning(Record):
    """The document that `whylike learn --json` prints, and `whylike learn history --json` of all runs."""

    runs: list[Outcome]


class Watching(NamedTuple):
    """Who is told of progress."""

    step: Told = lambda *_: None
    training: Callable[[News], None] = lambda _: None


QUIET = Watching()


def learn(
    settings: Settings,
    experts: Sequence[Expert] = (),
    *,
    least: int = LEAST,
    who: Who | None = None,
    dry_run: bool = False,
    watching: Watching = QUIET,
) -> Learning:
    """Have experts learn from what came in since their last runs, each if that is enough.

    Args:
        settings: Where the store is, and how a run learns (`learn_new` and the like).
        experts: Which; those of `learners` where none is named.
        least: New examples from which one learns.
        who: Makes examples of what came in (`Tutor`); None for the settings' teacher, or the student where there is
            none.
        dry_run: Say what would be learned from, have nothing made, and change nothing.
        watching: Told of progress.

    Raises:
        HeldError: Another process learns at the same store.
        UsageError: There is no teacher.
        EngineError: The model failed; the next run goes on where this one was.
    """
    with Services.open(settings) as services:
        courses = [COURSES[each] for each in experts or learners(services.registry)]
        tutors = [Tutor(services, who or Who.of(settings), watching.step, dry=dry_run) for _ in courses]
        with nullcontext() if dry_run else services.store.database.exclusive("learning", waiting=False):
            work = _looked_at if dry_run else partial(_learn, watching=watching)
            return Learning(
                runs=[work(services, course, least, tutor) for course, tutor in zip(courses, tutors, strict=True)]
            )


def watch(
    settings: Settings,
    experts: Sequence[Expert] = (),
    *,
    least: int = LEAST,
    who: Who | None = None,
    watching: Watching = QUIET,
    pause: Callable[[float], None] = time.sleep,
) -> Generator[Outcome]:
    """Learn whenever enough has come in, and tell what came of each run, until nobody asks for more.

    Of one that only waits it is told what was made for it, and what could not be. The store is searched only when
    something has come in. An expert that had too little to learn from then, or nothing, looks again when `MORE` of what
    a run takes has come in besides: no teacher is asked in vain again and again.

    Args:
        settings: As of `learn`, and how often to look.
        experts: As of `learn`.
        least: New examples from which one learns.
        who: As of `learn`.
        watching: Told of progress.
        pause: Waits for so many seconds.

    Raises:
        UsageError: As of `learn`.
        EngineError: As of `learn`.
    """
    tutored = (who or Who.of(settings)) is Who.OPENAI
    seen: dict[Expert, int] = {}
    wanted: dict[Expert, int] = {}
    while True:
        with Store.open(settings) as store:
            arrivals = store.arrivals()
            found: dict[Expert, int] = {}
            for each in experts or learners(Registry(settings, store)):
                broken = each not in wanted and broken_off(store.learning_runs(each)) is not None
                if broken or seen.get(each) != arrivals:
                    found[each] = there(store, settings, COURSES[each], tutored=tutored)
                    if not broken and found[each] < wanted.get(each, least):
                        del found[each]
                        seen[each] = arrivals
        if found:
            try:
                done = learn(settings, [*found], least=least, who=who, watching=watching)
            except HeldError:  # another one learns now; what it leaves is looked at next time
                pass
            else:
                with Store.open(settings) as store:
                    for run in done.runs:
                        wanted.pop(run.expert, None)
                        if run.outcome in {"waiting", "failed"}:
                            seen[run.expert] = store.arrivals()
                            wanted[run.expert] = found[run.expert] + max(1, round(least * MORE))
                yield from (run for run in done.runs if run.notes or run.outcome != "waiting")
        pause(settings.learn_poll)


def learners(registry: Registry) -> list[Expert]:
    """Who goes on learning where nobody is named: an untaught Reasoner, which says what reviewers say, stays so."""
    live = registry.live_versions()
    return [each for each in COURSES if each is not Expert.REASONER or each in live]


def history(store: Store) -> Learning:
    """What came of all runs, oldest first; one that is under way, or was broken off, is not among them."""
    return Learning(
        runs=[Outcome.model_validate_json(run.report) for run in store.learning_runs() if run.ended_at is not None]
    )


def _looked_at(services: Services, course: Course, least: int, tutor: Tutor) -> Outcome:
    """What a run would do."""
    runs = services.store.learning_runs(course.expert)
    if not broken_off(runs):
        course.gather(services, tutor, since_last(services.registry, services.store, course.expert, runs))
    return planned(services, course, least).told.model_copy(update={"notes": tuple(tutor.notes)})


def _learn(services: Services, course: Course, least: int, tutor: Tutor, watching: Watching) -> Outcome:
    """One expert's run, or the rest of one that was broken off."""
    store, expert = services.store, course.expert
    began = time.monotonic()
    runs = store.learning_runs(expert)
    run = broken_off(runs)
    if run and run.outcome == "promoting":
        return _promote(services, run, Outcome.model_validate_json(run.report))
    if run and services.registry.live_versions().get(expert) != run.parent:
        # Its examples may be other ones now, and what it goes on from is not live.
        _end(store, run, Outcome(expert=expert, outcome="failed", why="another version was promoted since"))
        run = None
    if not run:
        course.gather(services, tutor, since_last(services.registry, store, expert, runs))
    plan = planned(services, course, least)
    if plan.told.outcome == "waiting":
        return plan.told.model_copy(update={"notes": tuple(tutor.notes)})
    store.freeze(expert, plan.to_freeze)
    run = run or store.begin_learning(expert, since=plan.since, until=plan.until, parent=plan.parent)
    if run.report:
        tutor.rest(json.loads(run.report))
    try:
        examples, made_with = _lessons(services, course, plan, tutor)
        wanted = enough(least, services.settings)
        if not run.report and len(plan.chosen.new) - tutor.undecided < wanted:
            why = f"for {tutor.undecided:,} of {len(plan.chosen.new):,} pairs no reason could be sought yet"
            why += f", and a run takes {wanted:,}"
            return plan.told.model_copy(update={"outcome": "waiting", "why": why, "notes": tuple(tutor.notes)})
        run = store.go_on_learning(run, "under way", report=json.dumps(tutor.notes))
        version = _taught(services, plan, examples, made_with, watching)
    except UsageError as error:
        failed = {"outcome": "failed", "why": str(error), "notes": tuple(tutor.notes)}
        return _end(store, run, plan.told.model_copy(update=failed))
    run = store.go_on_learning(run, "under way", version=version, report=run.report)
    sets = {NEWEST: plan.chosen.newest, FROZEN: plan.frozen}
    before, after = readings(services, course, (plan.parent, version), sets, watching.step)
    figures, verdict = [], Verdict(promoted=False, why="somebody by whom it is judged was forgotten meanwhile")
    if before.owners == after.owners:
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
            "notes": tuple(tutor.notes),
            "seconds": round(time.monotonic() - began, 1),
        }
    )
    return _promote(services, run, done) if verdict.promoted else _end(store, run, done)


def _lessons(
    services: Services, course: Course, plan: Plan, tutor: Tutor
) -> tuple[list[Example], dict[str, JsonValue]]:
    """What a run learns from, and what the adapter's card says of it."""
    keys = [*plan.chosen.new, *plan.replay]
    with services.query():  # by what is live now: an earlier expert's run may have promoted something
        examples = course.examples(services, keys, tutor)
        return examples, {**course.made_with(services, keys, plan.parent), "arrivals": plan.until}


def _taught(
    services: Services, plan: Plan, examples: list[Example], made_with: dict[str, JsonValue], watching: Watching
) -> str:
    """The version that learned what the run is to learn from, going on from the live one."""
    expert = plan.told.expert
    recipe = RECIPES[expert]
    if plan.parent:
        gentle = recipe.model_copy(update={"rate": recipe.rate / GENTLER, "epochs": 1})
        recipe = going_on(gentle, services.registry, expert, plan.parent)
    return teach(
        expert,
        services.settings,
        services.store,
        examples,
        recipe,
        command=f"whylike learn {expert}",
        parent=plan.parent,
        made_with=made_with,
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
