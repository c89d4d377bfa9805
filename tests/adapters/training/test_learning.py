"""From what came in to what answers: real trainings of a tiny model; the judging is given where it is wanted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import learner
import pytest
from learner import KILLS, LEAST, judged, reviews, settings_of
from lettered import Letters
from readme import commands
from typer.testing import CliRunner, Result

from whylike.adapters.registry.registry import Registry
from whylike.adapters.training import teach as teaching
from whylike.agents.turns import Routed, Turn
from whylike.cli import app
from whylike.evaluation.asking import unexplained
from whylike.evaluation.calibrating import fit
from whylike.evaluation.courses.ratings import Ratings
from whylike.evaluation.judging import FROZEN, NEWEST, Verdict
from whylike.explanation import Explanation
from whylike.graph import learning, lessons, talking
from whylike.graph.choosing import Outcome
from whylike.graph.conversation import Conversation
from whylike.graph.forgetting import forget
from whylike.graph.learning import Watching
from whylike.graph.services import Services
from whylike.memory.annotations import Occasion
from whylike.memory.database import HeldError
from whylike.memory.schema import Collection
from whylike.memory.spending import Purpose
from whylike.memory.splits import split
from whylike.memory.store import Store
from whylike.records import Expert, Item, Review, SummaryAnnotation
from whylike.settings import Settings

PREDICTOR = [Expert.PREDICTOR]


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    monkeypatch.setattr("whylike.graph.forgetting.Embedder", Letters)
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", Path("none"))


@pytest.fixture
def settings(tiny: Path, tmp_path: Path) -> Iterator[Settings]:
    made = settings_of(tmp_path / "store", tiny)
    with Store.open(made) as store:
        store.add_reviews(reviews(0, 250))
    yield made


def add(settings: Settings, new: list[Review]) -> None:
    with Store.open(settings) as store:
        store.add_reviews(new)


def learn(settings: Settings, **how: Any) -> Outcome:
    [done] = learning.learn(settings, PREDICTOR, least=LEAST, **how).runs
    return done


def live(settings: Settings) -> str | None:
    with Store.open(settings) as store:
        return Registry(settings, store).live_versions().get(Expert.PREDICTOR)


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


def test_two_at_once_are_refused_at_once_and_a_dry_run_is_not(settings: Settings) -> None:
    with Store.open(settings) as store, store.database.exclusive("learning"):
        with pytest.raises(HeldError, match=r"another whylike holds .*; wait until it is done or end it"):
            learn(settings)
        assert learn(settings, dry_run=True).outcome == "would learn"


def test_watching_waits_for_enough_and_for_another_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    steps: list[Callable[[], None]] = []
    with Store.open(settings) as store:
        held = store.database.exclusive("learning")
        held.__enter__()
        steps += [
            lambda: held.__exit__(None, None, None),  # the first look found another one at it
            lambda: add(settings, reviews(250, 5)),  # after the first run
            lambda: add(settings, reviews(255, 90)),  # five were not enough
        ]
        waits: list[float] = []

        def pause(seconds: float) -> None:
            waits.append(seconds)
            steps.pop(0)()

        found = learning.watch(settings, PREDICTOR, least=LEAST, pause=pause)
        first, second = next(found), next(found)
    assert (first.arrived, second.arrived) == (250, 95)
    assert waits == [settings.learn_poll] * 3
    assert not steps


def test_watching_searches_the_store_only_when_something_came_in_and_tries_again_only_with_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    learn(settings)
    counted, tried = [], []
    sources, planned = Ratings.sources, learning.planned

    def counting(self: Ratings, *given: Any) -> int:
        counted.append(sources(self, *given))
        return counted[-1]

    def trying(*given: Any) -> Any:
        tried.append(counted[-1])
        return planned(*given)

    monkeypatch.setattr(Ratings, "sources", counting)
    monkeypatch.setattr(learning, "planned", trying)
    flood = [each.model_copy(update={"user_id": "one"}) for each in reviews(900, 300, kind="f")]
    steps = [0, 30, 0, 1, 0, 1]  # of which the run takes too few: all are by one user

    def pause(_: float) -> None:
        if not steps:
            raise KeyboardInterrupt
        add(settings, [flood.pop() for _ in range(steps.pop(0))])

    with pytest.raises(KeyboardInterrupt):
        next(learning.watch(settings, PREDICTOR, least=LEAST, pause=pause))
    assert counted == [0, 30, 31, 32]
    assert tried == [30, 32]


def test_reviews_that_come_in_while_it_learns_are_for_the_next_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    came = reviews(250, 60)

    def news(_: object) -> None:
        if came:
            add(settings, [came.pop()])

    first = learn(settings, watching=Watching(training=news))
    assert first.outcome == "promoted"
    added = 60 - len(came)
    assert added
    add(settings, came)
    assert learn(settings, dry_run=True).arrived == 60


def test_a_conversation_goes_on_while_it_learns_and_the_answer_in_flight_keeps_its_version(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Comparing:
        """Sends every turn to the comparison."""

        def route(self, *_: object) -> Routed:
            return Routed(turn=Turn.COMPARE, probability=1.0, second=Turn.OTHER)

    done: list[Outcome] = []
    by: list[str] = []
    explained = talking.explained

    def and_learn(*given: Any, **how: Any) -> Explanation:
        answer = explained(*given, **how)
        by.append(answer.adapters["predictor"])
        if not done:
            done.append(learn(settings))
        return answer

    monkeypatch.setattr(Ratings, "read", judged(0.2))
    monkeypatch.setattr("whylike.graph.conversation.TurnRouter", lambda *_: Comparing())
    monkeypatch.setattr(talking, "explained", and_learn)
    with Services.open(settings) as services:
        titles = {"i5": "Long Blue Cloud", "i6": "Tiny Iron Gate"}
        services.store.add_items([Item(item_id=item_id, title=title) for item_id, title in titles.items()])
        services.index.sync(kinds=tuple(Collection))
        with Conversation.open(services, "s", "u3", lambda _: "") as conversation:
            for _ in range(2):
                said = " ".join(part.get("text", "") for part in conversation.say(" or ".join(titles.values())))
                assert all(title in said for title in titles.values())
    assert done[0].outcome == "promoted"
    old, new = "base:scripted", done[0].version
    assert by == [old, old, new, new], "what answers changes between turns, and not within one"


def test_what_learned_from_somebody_forgotten_meanwhile_is_not_promoted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    better = judged(0.2)

    def read(self: Ratings, services: Any, *rest: Any) -> Any:
        if services.store.has_user("u3"):
            forget(settings, services.store, "u3")
        return better(self, services, *rest)

    monkeypatch.setattr(Ratings, "read", read)
    done = learn(settings)
    assert (done.outcome, done.why) == ("kept", "a user that it learned from has been forgotten since")
    assert live(settings) is None


def test_who_is_forgotten_between_the_two_readings_is_told_of(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Ratings.read
    times: list[int] = []

    def forgetting(self: Ratings, services: Services, sets: Any, told: Any) -> Any:
        if times:
            [judging, *_] = services.store.reviews(sets[FROZEN])
            forget(settings, services.store, judging.user_id)
        times.append(1)
        return read(self, services, sets, told)

    monkeypatch.setattr(Ratings, "read", forgetting)
    done = learn(settings)
    assert (done.outcome, done.why) == ("kept", "somebody by whom it is judged was forgotten meanwhile")
    assert live(settings) is None


def test_what_another_promoted_meanwhile_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    first = learn(settings)
    add(settings, reviews(250, 100))
    better = judged(0.2)

    def read(self: Ratings, services: Any, *rest: Any) -> Any:
        if live(settings) == first.version:
            services.registry.roll_back(Expert.PREDICTOR, "somebody")
        return better(self, services, *rest)

    monkeypatch.setattr(Ratings, "read", read)
    done = learn(settings)
    assert (done.outcome, done.why) == ("kept", "another version was promoted while it learned")
    assert live(settings) is None


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
        keys = [each.key for each in services.store.arrived_reviews()]
        services.store.add_reviews(
            [each.model_copy(update={"rating": 1.0, "timestamp": 1_700_000_000}) for each in reviews(900, 60)]
        )
        wrong = [each.key for each in services.store.arrived_reviews()[-40:]]
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


@pytest.fixture
def killing(tiny: Path, tmp_path: Path) -> Iterator[Callable[[Path, str | None], int]]:
    """Learns in a child that kills itself at a place, or nowhere; how it ended."""
    process = subprocess.Popen(
        [sys.executable, learner.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )

    def run(store: Path, kill: str | None) -> int:
        process.stdin.write(json.dumps({"store": str(store), "model": str(tiny), "kill": kill}) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield run
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


def test_a_kill_at_any_moment_leaves_what_answers_and_the_next_run_goes_on(
    settings: Settings, killing: Callable[[Path, str | None], int], tmp_path: Path
) -> None:
    undisturbed = settings.model_copy(update={"store": tmp_path / "undisturbed"})
    shutil.copytree(settings.store, undisturbed.store)
    assert killing(undisturbed.store, None) == 0
    wanted = live(undisturbed)
    assert wanted is not None
    for kill in KILLS:
        own = settings.model_copy(update={"store": tmp_path / kill})
        shutil.copytree(settings.store, own.store)
        assert killing(own.store, kill) == -signal.SIGKILL
        assert live(own) == (wanted if kill == "moved" else None)
        with Store.open(own) as store:
            assert learning.history(store).runs == []
            store.add_reviews([each.model_copy(update={"timestamp": 1_600_000_000}) for each in reviews(900, 30)])
        if kill == "checkpoint":
            assert list((own.store / "training").glob("*/checkpoints/checkpoint-*"))
        assert killing(own.store, None) == 0
        assert live(own) == wanted, "the same examples, the same adapter"
        with Store.open(own) as store:
            [done] = learning.history(store).runs
            assert (done.outcome, done.version, done.arrived) == ("promoted", wanted, 250)
            assert [each.version for each in store.promotions(Expert.PREDICTOR)] == [wanted]
            assert len(store.learning_runs()) == 1


def test_the_commands(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    for name in ("store", "model", "engine", "device", "history", "learn_new", "learn_frozen", "learn_of_user"):
        monkeypatch.setenv(f"WHYLIKE_{name.upper()}", str(getattr(settings, name)))

    def run(*given: str) -> Result:
        return CliRunner().invoke(app, ["learn", *given])

    assert run("history").stdout == "There has been no run yet; `whylike learn` makes one.\n"
    dry = run("predictor", "--dry-run", "--min", "20")
    assert dry.exit_code == 0, dry.stderr
    assert dry.stdout.startswith("predictor: would go on from the base model with 40 new reviews and 0 old ones.")
    assert run("--min", "40", "predictor", "--dry-run").exit_code == 0
    refused = run("reward")
    assert refused.exit_code == 2
    assert "reward does not go on learning; give one of summarizer, reasoner, predictor" in refused.stderr
    refused = run("summarizer", "--teacher", "openai")
    assert refused.exit_code == 2
    assert "teacher_base_url" in refused.stderr
    assert "reasoner: nothing to do: no adapter is live for the reward expert" in run("reasoner").stdout
    done = run("predictor", "--min", "20", "--json")
    assert done.exit_code == 0, done.stderr
    [told] = json.loads(done.stdout)["runs"]
    assert told["outcome"] == "promoted"
    assert json.loads(run("history", "--json").stdout)["runs"] == [told]
    shown = " ".join(run("history").stdout.split())
    assert f"{told['version']} was promoted" in shown
    assert "`whylike adapters rollback predictor` goes back" in shown
    assert run("--watch", "--dry-run").exit_code == 2


@pytest.mark.parametrize("name", ["history", "now"])
def test_a_command_after_its_options_is_told_where_it_stands(name: str) -> None:
    refused = CliRunner().invoke(app, ["learn", "--json", name])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"whylike: {name} is a command and comes first, before its options: `whylike learn {name} --json`\n"
    )


def test_the_readmes_commands(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    for name in ("store", "model", "engine", "device", "history", "learn_new", "learn_frozen", "learn_of_user"):
        monkeypatch.setenv(f"WHYLIKE_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setattr(learning, "LEAST", LEAST)

    def no_more(seconds: float) -> None:
        raise KeyboardInterrupt

    watch = learning.watch
    monkeypatch.setattr(learning, "watch", lambda *given, **how: watch(*given, **how, pause=no_more))
    lines = [line for line in commands() if line[0] == "learn"]
    assert ["learn", "predictor"] in lines
    assert ["learn", "history"] in lines
    for line in lines:
        done = CliRunner().invoke(app, line)
        wanted = 130 if "--watch" in line else 0  # ended by Ctrl-C
        assert done.exit_code == wanted, (line, done.stderr)
    assert live(settings) is not None
    back = CliRunner().invoke(app, ["adapters", "rollback", "predictor"])
    assert back.exit_code == 0, back.stderr
    assert live(settings) is None
