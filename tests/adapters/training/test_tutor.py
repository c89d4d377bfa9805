"""What a run of `whylike learn` has made for it: summaries by a teacher, reasons by a teacher or the student."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import endpoint
import numpy as np
import pytest
from endpoint import Server, said
from learner import settings_of

from whylike.adapters.registry.registry import Registry
from whylike.adapters.training.arrived import FEWEST, to_freeze
from whylike.adapters.training.teach import RECIPES, teach
from whylike.agents import teacher
from whylike.evaluation.asking import unexplained
from whylike.evaluation.calibrating import fit
from whylike.evaluation.courses import reasons
from whylike.evaluation.courses.base import Reading
from whylike.evaluation.courses.summaries import Summaries
from whylike.evaluation.judging import FROZEN, NEWEST, Verdict
from whylike.graph import learning, lessons, tutor
from whylike.graph.choosing import Outcome
from whylike.graph.forgetting import forget
from whylike.graph.services import Services
from whylike.graph.tutor import Who
from whylike.memory.annotations import Occasion
from whylike.memory.spending import Purpose
from whylike.memory.splits import split
from whylike.memory.store import Store
from whylike.records import Expert, ReasonAnnotation, Review, SummaryAnnotation
from whylike.settings import Settings

LEAST = 20
LISTS = "Positive Aspects: warm sound\nNegative Aspects: None\nUser Preference Elements: sound"
REASON = "The user likes a warm sound. Others praise the warm sound."


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "PAUSE", 0.0)


def reviews(first: int, count: int) -> list[Review]:
    kinds = "abcdefghijklmnop"
    return [
        Review(
            review_id=f"r{number}",
            user_id=f"u{number // 7 % 30}",
            item_id=f"i{number * 7 % 120}",
            rating=1 + number % 5,
            text=f"Warm sound. Cheap covers tear. Heard it {kinds[number % 16]}{kinds[number // 16 % 16]}.",
            timestamp=1_500_000_000 + number,
        )
        for number in range(first, first + count)
    ]


@pytest.fixture
def settings(tiny: Path, tmp_path: Path, cheap: None) -> Settings:
    made = settings_of(tmp_path / "store", tiny)
    with Store.open(made) as store:
        store.add_reviews(reviews(0, 250))
    return made


@pytest.fixture
def server() -> Iterator[Server]:
    """A teacher that summarizes and gives reasons."""

    def answer(asked: Any) -> endpoint.Answer:
        return said(LISTS if "Positive Aspects" in str(asked["messages"]) else REASON)

    with endpoint.opened(answer) as made:
        yield made


def taught_by(settings: Settings, server: Server) -> Settings:
    return settings.model_copy(update={"teacher_base_url": server.url, "teacher_model": "big"})


def learned(settings: Settings, expert: Expert, **how: Any) -> Outcome:
    [done] = learning.learn(settings, [expert], least=LEAST, **how).runs
    return done


@pytest.fixture
def promoting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "judge", lambda compared: Verdict(promoted=True, why="the test wants it"))


@pytest.fixture
def rewarded(settings: Settings) -> str:
    """A reward expert is live."""
    with Services.open(settings) as services:
        expert, chosen = Expert.REWARD, {"limit": 30, "reasons": 0}
        examples = lessons.examples(services, expert, **chosen, seed=0)
        told = lessons.made_with(services, expert, **chosen)
        lesson = teach(
            expert, settings, services.store, examples, RECIPES[expert], command="whylike train reward", made_with=told
        )
        services.registry.promote(lesson.version, "test")
        return lesson.version


def test_without_anybody_to_summarize_the_summarizer_waits_for_annotations(settings: Settings) -> None:
    for who in (None, Who.STUDENT, Who.NOBODY):
        done = learned(settings, Expert.SUMMARIZER, who=who)
        assert (done.outcome, done.notes) == ("waiting", ())
        assert done.why == "there are 0 new annotations to learn from, and a run takes 20"


@pytest.mark.usefixtures("promoting")
def test_a_teacher_summarizes_what_came_in_and_nothing_twice(settings: Settings, server: Server) -> None:
    own = taught_by(settings, server)
    said = learned(own, Expert.SUMMARIZER, dry_run=True)
    assert (said.outcome, server.asked) == ("waiting", [])
    first = learned(own, Expert.SUMMARIZER)
    read = len(server.asked)
    assert first.outcome == "promoted", first.why
    assert said.notes == (f"openai:big would summarize {read} reviews first; these would be new too.",)
    assert first.notes == (f"openai:big summarized {read} of {read} reviews that nobody had read.",)
    assert first.frozen >= 20
    assert first.new + first.newest + first.frozen <= read
    with Store.open(own) as store:
        assert len(store.annotations(SummaryAnnotation)) == read
        store.add_reviews(reviews(250, 80))
        assert {each.occasion.purpose for each in store.written() if each.occasion} == {Purpose.SUMMARIES}
    second = learned(own, Expert.SUMMARIZER)
    assert (second.outcome, second.parent) == ("promoted", first.version)
    with Services.open(own) as services:
        assert services.calibrator() is None, "there was none before"
    with Store.open(own) as store:
        texts = [each.text for each in store.annotations(SummaryAnnotation)]
    assert len(texts) == len(set(texts)) == len(server.asked)


@pytest.mark.usefixtures("promoting")
def test_ratings_are_calibrated_as_before_once_a_new_summarizer_is_promoted(settings: Settings, server: Server) -> None:
    own = taught_by(settings, server)
    with Services.open(own) as services:
        known = [unexplained(services, pair).known for pair in split(services.store).training[:60]]
        fitted = fit(known, [3.0] * 60, [1] * 5, predictor=services.mark)
        services.store.keep_calibration(services.mark, fitted.model_dump_json())
    done = learned(own, Expert.SUMMARIZER)
    with Services.open(own) as services:
        assert services.summarizer.version == done.version
        assert services.calibrator() == fitted.model_copy(update={"predictor": services.mark})


def test_a_teacher_that_is_not_there_or_has_cost_enough_is_told_of_and_fails_nothing(
    settings: Settings, server: Server
) -> None:
    poor = taught_by(settings, server).model_copy(update={"teacher_calls": 3})
    done = learned(poor, Expert.SUMMARIZER)
    assert (done.outcome, len(server.asked)) == ("waiting", 3)
    assert done.notes[0].startswith("openai:big summarized 3 of ")
    assert "does not allow another call" in done.notes[1]
    gone = settings.model_copy(update={"teacher_base_url": "http://127.0.0.1:9/v1", "teacher_model": "big"})
    done = learned(gone, Expert.SUMMARIZER)
    assert done.outcome == "waiting"
    assert done.notes[0].startswith("The teacher could not go on: ")


@pytest.mark.usefixtures("promoting")
def test_a_run_that_was_killed_before_it_was_noted_has_nothing_else_summarized(
    settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = taught_by(settings, server)
    with monkeypatch.context() as killed:
        killed.setattr(Store, "begin_learning", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            learned(own, Expert.SUMMARIZER)
    read = len(server.asked)
    assert 0 < read < 250
    done = learned(own, Expert.SUMMARIZER)
    assert (done.outcome, done.arrived, len(server.asked)) == ("promoted", read, read)


@pytest.mark.usefixtures("promoting")
def test_a_first_run_that_was_killed_while_reviews_were_summarized_is_judged_by_the_same_for_good(
    settings: Settings, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = taught_by(settings, server).model_copy(update={"teacher_concurrency": 1})
    own = undisturbed.model_copy(update={"store": tmp_path / "killed"})
    shutil.copytree(settings.store, own.store)
    wanted = learned(undisturbed, Expert.SUMMARIZER)
    keep = Store.keep_summary

    def killed(store: Store, *given: Any, **how: Any) -> None:
        keep(store, *given, **how)
        if len(to_freeze(Summaries().arrived(store), own)) == FEWEST:
            raise KeyboardInterrupt

    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(Store, "keep_summary", killed)
        learned(own, Expert.SUMMARIZER)
    done = learned(own, Expert.SUMMARIZER)
    assert (done.version, done.arrived, done.frozen) == (wanted.version, wanted.arrived, wanted.frozen)
    assert wanted.frozen > FEWEST
    with Store.open(undisturbed) as store, Store.open(own) as after:
        assert after.frozen(Expert.SUMMARIZER) == store.frozen(Expert.SUMMARIZER)


def test_what_says_too_little_takes_the_place_of_nothing_that_a_teacher_can_read(
    settings: Settings, server: Server
) -> None:
    own = taught_by(settings, server)
    with Store.open(own) as store:
        store.add_reviews([each.model_copy(update={"text": f"{each.text[-3:]} Good."}) for each in reviews(250, 80)])
        copies = [each.model_copy(update={"text": "Warm sound and one and the same text."}) for each in reviews(330, 3)]
        store.add_reviews(copies)
    done = learned(own, Expert.SUMMARIZER)
    assert done.new == 40
    asked = [str(each) for each in server.asked]
    assert not any("Good." in each for each in asked)
    assert sum("one and the same text" in each for each in asked) == 1


@pytest.mark.usefixtures("rewarded")
def test_where_a_teacher_stops_before_there_is_enough_the_next_run_goes_on_with_the_same(
    settings: Settings, server: Server
) -> None:
    own = taught_by(settings, server)
    poor = own.model_copy(update={"teacher_calls": 3})
    done = learned(poor, Expert.REASONER)
    assert done.outcome == "waiting"
    assert done.why.endswith("of 40 pairs no reason could be sought yet, and a run takes 20")
    assert done.notes[-1].startswith("The teacher's budget does not allow another call")
    gone = settings.model_copy(update={"teacher_base_url": "http://127.0.0.1:9/v1", "teacher_model": "big"})
    done = learned(gone, Expert.REASONER)
    assert done.outcome == "waiting", "a teacher that fails fails no run"
    with Store.open(own) as store:
        store.add_reviews(reviews(250, 60))
        [run] = store.learning_runs(Expert.REASONER)
        assert (run.outcome, run.version) == ("under way", None)
    done = learned(own, Expert.REASONER)
    assert (done.run_id, done.arrived, done.new) == (run.run_id, 250, 40), "what came in since is for the one after it"
    assert done.version


@pytest.mark.usefixtures("rewarded")
def test_a_run_that_was_killed_once_its_reasons_were_sought_seeks_no_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher.Student, "sample", lambda *_, **__: REASON)
    sought: list[int] = []
    seek = tutor.filter_reasons

    def noted(services: Services, sampler: Any, pairs: Any, **how: Any) -> Any:
        sought.append(len(pairs))
        return seek(services, sampler, pairs, **how)

    monkeypatch.setattr(tutor, "filter_reasons", noted)
    with monkeypatch.context() as killed:
        killed.setattr(learning, "teach", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            learned(settings, Expert.REASONER)
    done = learned(settings, Expert.REASONER)
    assert done.version
    assert len(sought) == 1
    assert "have a reason by student:" in done.notes[0], "what the first process made is told all the same"


@pytest.mark.usefixtures("promoting")
def test_the_predictor_learns_by_the_summarizer_that_the_same_command_promoted(
    settings: Settings, server: Server
) -> None:
    own = taught_by(settings, server)
    summarizer, predictor = learning.learn(own, [Expert.SUMMARIZER, Expert.PREDICTOR], least=LEAST).runs
    assert (summarizer.outcome, predictor.outcome) == ("promoted", "promoted")
    with Store.open(own) as store:
        made_with = Registry(own, store).card(str(predictor.version)).made_with
    assert str(made_with["summarizer"]).startswith(str(summarizer.version))


def test_who_watches_is_told_of_a_teacher_that_is_not_there(settings: Settings) -> None:
    gone = settings.model_copy(update={"teacher_base_url": "http://127.0.0.1:9/v1", "teacher_model": "big"})
    told = next(learning.watch(gone, [Expert.SUMMARIZER], least=LEAST, pause=lambda _: pytest.fail("it says nothing")))
    assert told.outcome == "waiting"
    assert told.notes[0].startswith("The teacher could not go on: ")


def test_without_a_reward_expert_the_reasoner_waits(settings: Settings) -> None:
    done = learned(settings, Expert.REASONER)
    assert done.outcome == "waiting"
    assert done.why == "no adapter is live for the reward expert, which judges reasons (`whylike train reward`)"


@pytest.mark.usefixtures("promoting")
@pytest.mark.parametrize("who", [Who.STUDENT, Who.OPENAI])
def test_the_reasoner_learns_from_reasons_that_the_reward_expert_lets_pass(
    settings: Settings, server: Server, rewarded: str, who: Who, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher.Student, "sample", lambda *_, **__: REASON)
    own = taught_by(settings, server)
    done = learned(own, Expert.REASONER, who=who)
    assert done.outcome == "promoted", done.why
    assert (done.new, done.parent) == (40, None)
    with Store.open(own) as store:
        kept = [each for each in store.decisions().values() if each.annotation]
        runs = store.learning_runs(Expert.REASONER)
        card = Registry(own, store).card(str(done.version))
        frozen = store.frozen(Expert.REASONER)
    assert kept
    assert {each.reward for each in kept} == {rewarded}
    assert all(each.sampler.startswith("openai:" if who is Who.OPENAI else "student:") for each in kept)
    assert f"{len(kept)} have a reason by" in done.notes[0]
    assert not {each.review_id for each in kept} & set(frozen)
    assert card.made_with["reward"] == rewarded
    assert {(each.on, each.figure) for each in done.compared} == {
        (on, figure) for on in (NEWEST, FROZEN) for figure in ("reward RMSE", "supported")
    }
    assert [run.version for run in runs] == [done.version]


def test_a_reasoner_that_convinces_with_what_nobody_bears_out_is_not_promoted(
    settings: Settings, rewarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: reasons.Reasons, services: Services, sets: Any, told: Any) -> Reading:
        new = services.engine.adapter_version(Expert.REASONER) != "base:scripted"
        owners = {on: [f"u{number % 30}" for number in range(len(keys))] for on, keys in sets.items()}
        off = {on: np.full(len(keys), 0.5 if new else 1.0) for on, keys in sets.items()}
        told_of = {on: np.array([[2.0 if new else 3.0, 3.0]] * len(keys)) for on, keys in sets.items()}
        return Reading(owners, {reasons.OFF: off, reasons.BORNE_OUT: told_of})

    monkeypatch.setattr(reasons.Reasons, "read", read)
    monkeypatch.setattr(teacher.Student, "sample", lambda *_, **__: REASON)
    done = learned(settings, Expert.REASONER)
    assert done.outcome == "kept", done.why
    assert "supported" in done.why


@pytest.mark.usefixtures("rewarded")
def test_a_run_that_finds_nothing_to_learn_from_says_so_and_keeps_no_other_from_learning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    started: list[str] = []
    begin = Store.begin_learning

    def begun(self: Store, expert: Expert, **how: Any) -> Any:
        started.append(expert)
        return begin(self, expert, **how)

    monkeypatch.setattr(Store, "begin_learning", begun)
    done = []
    with pytest.raises(KeyboardInterrupt):
        for each in learning.watch(settings, [Expert.REASONER], least=LEAST, who=Who.NOBODY, pause=pause):
            done.append(each)
    assert done == []
    assert started == [Expert.REASONER], "nothing has come in since, so it is not tried again"
    [said] = learning.learn(settings, [Expert.REASONER], least=LEAST, who=Who.NOBODY).runs
    assert said.outcome == "waiting"
    assert said.why == "for 35 of 40 pairs no reason could be sought yet, and a run takes 20"


@pytest.mark.usefixtures("promoting", "rewarded")
def test_what_a_teacher_wrote_for_who_waited_is_learned_and_never_judged_by(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(settings) as store:
        for number in range(30):
            annotation = ReasonAnnotation(
                title=f"Item {number}",
                user_likes=("warm sound",),
                item_likes=("warm sound",),
                text=REASON,
            )
            occasion = Occasion(
                teacher="openai:big+0",
                purpose=Purpose.LIVE_REASON,
                user_id=f"u{number}",
                item_id=f"i{number}",
                reviews=(f"r{number}",),
            )
            store.keep_reason(f"{number}", annotation, "openai:big", occasion)
        keys = {each.key for each in store.arrived_reasons()}
    seen: list[str] = []
    examples = reasons.Reasons.examples

    def noted(self: reasons.Reasons, services: Services, keys: list[str], made: tutor.Tutor) -> Any:
        seen.extend(keys)
        return examples(self, services, keys, made)

    monkeypatch.setattr(reasons.Reasons, "examples", noted)
    done = learned(settings, Expert.REASONER, who=Who.NOBODY)
    assert (done.outcome, done.notes) == ("promoted", ())
    assert keys & set(seen)
    with Store.open(settings) as store:
        assert not keys & set(store.frozen(Expert.REASONER))
        done_for = {each.version for number in range(30) for each in forget(settings, store, f"u{number}").adapters}
    assert done.version in done_for


def test_who_is_not_named_learns_the_reasoner_only_where_one_is_live(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(settings) as store:
        registry = Registry(settings, store)
        assert learning.learners(registry) == [Expert.SUMMARIZER, Expert.PREDICTOR]
        monkeypatch.setattr(Registry, "live_versions", lambda _: {Expert.REASONER: "reasoner-1"})
        assert learning.learners(registry) == [Expert.SUMMARIZER, Expert.REASONER, Expert.PREDICTOR]
