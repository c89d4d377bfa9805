"""From what came in to what answers: real trainings of a tiny model; the judging is given where it is wanted."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from learner import LEAST, add, judged, learn, live, reviews

from whylike.adapters.registry.registry import Registry
from whylike.adapters.training import teach as teaching
from whylike.evaluation.asking import unexplained
from whylike.evaluation.calibrating import fit
from whylike.evaluation.courses import COURSES
from whylike.evaluation.courses.ratings import Ratings
from whylike.evaluation.judging import FROZEN, NEWEST, Verdict
from whylike.graph import learning, lessons
from whylike.graph.choosing import Outcome, planned
from whylike.graph.services import Services
from whylike.memory.annotations import Occasion
from whylike.memory.spending import Purpose
from whylike.memory.splits import split
from whylike.memory.store import Store
from whylike.records import Expert, ReasonAnnotation, Review, SummaryAnnotation
from whylike.settings import Settings


def everything(settings: Settings) -> dict[str, Any]:
    """All rows of the store, and its folder's files but for the database's own."""
    with Store.open(settings) as store, store.database.read() as connection:
        names = [row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {name}"))) for name in names}
    return rows | {"folders": sorted(str(path) for path in (settings.store / "adapters").glob("*"))}


def test_a_dry_run_says_what_a_run_does_and_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    learn(settings, dry_run=True)  # makes the index
    before = everything(settings)
    said = learn(settings, dry_run=True)
    assert said.outcome == "would learn"
    assert everything(settings) == before
    done = learn(settings)
    counts = ("arrived", "new", "replayed", "left_out", "newest", "frozen", "parent")
    assert {name: getattr(said, name) for name in counts} == {name: getattr(done, name) for name in counts}


def test_the_runs_before_are_read_once_for_a_plan(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Expert | None] = []
    runs = Store.learning_runs
    monkeypatch.setattr(Store, "learning_runs", lambda store, expert: read.append(expert) or runs(store, expert))
    with Services.open(settings) as services:
        assert planned(services, Ratings(), LEAST).told.outcome == "would learn"
    assert read == [Expert.PREDICTOR]


@pytest.mark.parametrize("expert", COURSES)
def test_what_came_in_is_told_the_newest_first(settings: Settings, expert: Expert) -> None:
    with Store.open(settings) as store:
        for number, each in enumerate(reviews(250, 5)):
            told = Occasion.of(each, "openai:big", Purpose.LIVE_REASON)
            store.keep_reason(f"{number}", ReasonAnnotation(title="A", text="They like it."), "openai:big", told)
            said = SummaryAnnotation(item_id=each.item_id, text=each.text, rating=each.rating, likes=("tone",))
            store.add_annotations([said], "file")
            store.add_reviews([each])
        told = [each.position for each in COURSES[expert].arrived(store)]
    assert len(told) == {Expert.SUMMARIZER: 5, Expert.REASONER: 260, Expert.PREDICTOR: 255}[expert]
    assert told == sorted(told, reverse=True)


def test_each_run_learns_from_what_came_since_and_goes_on_from_what_is_live(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[set[str]] = []
    made = Ratings.examples

    def examples(self: Ratings, services: Any, keys: list[str], tutor: Any) -> Any:
        taught.append(set(keys))
        return made(self, services, keys, tutor)

    monkeypatch.setattr(Ratings, "examples", examples)
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    first = learn(settings)
    assert (first.outcome, first.parent, first.arrived) == ("promoted", None, 250)
    assert live(settings) == first.version
    assert learn(settings).outcome == "waiting"
    add(settings, reviews(250, 100))
    with Store.open(settings) as store:
        frozen = store.frozen(Expert.PREDICTOR)
    assert len(frozen) == first.frozen
    monkeypatch.setattr(Ratings, "read", judged(-0.2))
    second = learn(settings)
    assert (second.outcome, second.parent, second.arrived) == ("kept", first.version, 100)
    assert "on the" in second.why
    assert live(settings) == first.version
    add(settings, reviews(350, 100))
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    third = learn(settings)
    assert (third.outcome, third.parent) == ("promoted", first.version)
    numbers = [{int(key[1:]) for key in keys} for keys in taught]
    old = [{each for each in some if each < since} for some, since in zip(numbers, (0, 250, 350), strict=True)]
    assert [len(each) for each in old] == [0, second.replayed, third.replayed]
    assert second.replayed > 10
    assert max(old[2]) < 250, "what was not promoted is not replayed"
    with Store.open(settings) as store:
        assert store.frozen(Expert.PREDICTOR) == frozen, "new reviews do not move it"
        assert not set(frozen) & set.union(*taught)
        runs = learning.history(store).runs
        card = Registry(settings, store).card(str(third.version))
    assert [run.outcome for run in runs] == ["promoted", "kept", "promoted"]
    assert runs == [first, second, third]
    assert card.parent == first.version
    assert card.command == "whylike learn predictor"


def test_a_training_of_the_store_is_where_learning_begins(settings: Settings) -> None:
    with Store.open(settings) as store:
        registry = Registry(settings, store)
        with Services.open(settings) as services:
            chosen = {"limit": 40, "reasons": 0}
            told = lessons.made_with(services, Expert.PREDICTOR, **chosen)
            examples = lessons.examples(services, Expert.PREDICTOR, **chosen, seed=0)
        recipe = teaching.RECIPES[Expert.PREDICTOR]
        version = teaching.teach(
            Expert.PREDICTOR, settings, store, examples, recipe, command="whylike train predictor", made_with=told
        ).version
        registry.promote(version, "test")
    assert learn(settings, dry_run=True).arrived == 0
    add(settings, reviews(250, 90))
    said = learn(settings, dry_run=True)
    assert (said.arrived, said.parent) == (90, version)


def test_a_flood_is_left_out_and_too_few_are_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    learn(settings)
    flood = [each.model_copy(update={"user_id": "one"}) for each in reviews(900, 300, kind="f")]
    add(settings, flood)
    done = learn(settings)
    assert done.outcome == "waiting"
    assert done.left_out["more of one user"] == 280
    assert "a run takes 20" in done.why


def test_a_calibrator_is_there_for_a_new_version_where_there_was_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "judge", lambda compared: Verdict(promoted=True, why="the test wants it"))
    first = learn(settings)
    assert {(each.on, each.figure) for each in first.compared} == {
        (on, figure) for on in (NEWEST, FROZEN) for figure in ("RMSE", "calibrated RMSE")
    }
    with Services.open(settings) as services:
        assert services.calibrator() is None, "there was none before"
        pairs = split(services.store).training[:60]
        known = [unexplained(services, pair).known for pair in pairs]
        fitted = fit(known, [pair.rating for pair in pairs], [1] * 5, predictor=services.mark)
        services.store.keep_calibration(services.mark, fitted.model_dump_json())
    add(settings, reviews(250, 100))
    second = learn(settings)
    with Services.open(settings) as services:
        assert services.predictor.version == second.version != first.version
        calibrator = services.calibrator()
    assert calibrator is not None
    assert calibrator.predictor.startswith(str(second.version))
    assert calibrator.pairs > second.newest + second.frozen


def test_what_comes_in_does_not_move_the_figures_of_the_frozen_set(settings: Settings) -> None:
    with Services.open(settings) as services:
        keys = [each.key for each in reversed([*services.store.arrived_reviews()])]
        services.store.add_reviews(
            [each.model_copy(update={"rating": 1.0, "timestamp": 1_700_000_000}) for each in reviews(900, 60)]
        )
        wrong = [each.key for each in islice(services.store.arrived_reviews(), 40)]
        sets = [{NEWEST: newest, FROZEN: keys[:60]} for newest in (keys[-40:], wrong)]
        first, second = (Ratings().read(services, each, lambda *_: None) for each in sets)
    assert first.off.keys() == {"RMSE", "calibrated RMSE"}
    for figure, off in first.off.items():
        assert off[FROZEN].tolist() == second.off[figure][FROZEN].tolist()
        assert off[NEWEST].tolist() != second.off[figure][NEWEST].tolist()


def test_the_summarizer_learns_from_new_annotations(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "judge", lambda compared: Verdict(promoted=True, why="the test wants it"))

    def annotate(some: list[Review]) -> None:
        with Store.open(settings) as store:
            for each in some:
                made = SummaryAnnotation(
                    item_id=each.item_id, text=each.text, rating=each.rating, likes=(each.text.split()[0],)
                )
                occasion = Occasion.of(each, "openai:big", Purpose.SUMMARIES)
                store.keep_summary(each.review_id, made, "openai:big", occasion)

    def learned(**how: Any) -> Outcome:
        [done] = learning.learn(settings, [Expert.SUMMARIZER], least=LEAST, **how).runs
        return done

    assert learned().why == "there are 0 new annotations to learn from, and a run takes 20"
    annotate(reviews(0, 250))
    first = learned()
    assert (first.outcome, first.arrived, first.parent) == ("promoted", 250, None)
    assert {(each.on, each.figure) for each in first.compared} == {(NEWEST, "F1"), (FROZEN, "F1")}
    annotate(reviews(0, 250))
    assert learned(dry_run=True).arrived == 0, "what says the same again is no news"
    add(settings, reviews(250, 100))
    annotate(reviews(250, 100))
    second = learned()
    assert (second.arrived, second.parent) == (100, first.version)
    assert second.replayed > 10
    with Store.open(settings) as store:
        assert Registry(settings, store).live_versions() == {Expert.SUMMARIZER: second.version}
