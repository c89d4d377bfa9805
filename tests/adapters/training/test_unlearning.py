"""Whose data an adapter learned from is known, and who was forgotten is in no later training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from leftovers import left
from typer.testing import CliRunner, Result

from whylike.adapters.training import teach as teaching
from whylike.adapters.training.examples import Example, hash_of
from whylike.adapters.training.reasons import decided_examples, reason_examples
from whylike.adapters.training.runs import FOLDER
from whylike.adapters.training.teach import examples_for, teach
from whylike.adapters.training.trainer import Recipe, train
from whylike.cli import app
from whylike.errors import UsageError
from whylike.graph import lessons
from whylike.graph.forgetting import forget
from whylike.graph.services import Services
from whylike.memory.annotations import Occasion
from whylike.memory.spending import Purpose
from whylike.memory.store import Store
from whylike.records import Expert, ReasonAnnotation, ReasonDecision, Review, SummaryAnnotation
from whylike.settings import Settings

WHO = "quokka-u1"
RECIPE = Recipe(rank=2, alpha=4, epochs=1, batch=4)


@pytest.fixture
def settings(tiny: Path, tmp_path: Path, cheap: None) -> Settings:
    return Settings(store=tmp_path / "store", model=str(tiny), device="cpu", engine="scripted")


def fill(store: Store) -> None:
    """Reviews of twelve users, and a teacher's summaries of some of them; one of them is the one to be forgotten."""
    reviews = [
        Review(
            review_id=f"r{number}",
            user_id=WHO if number % 12 == 1 else f"u{number % 12}",
            item_id=f"i{number % 35}",
            rating=1 + number % 5,
            text=f"Warm sound all through, number {number}. Zorblatt{number % 12}.",
            timestamp=1_500_000_000 + number,
        )
        for number in range(200)
    ]
    store.add_reviews(reviews)
    for each in reviews[:120]:
        summary = SummaryAnnotation(item_id=each.item_id, text=each.text, rating=each.rating, likes=("warm sound",))
        occasion = Occasion.of(each, "openai:big", Purpose.SUMMARIES)
        store.keep_summary(each.review_id, summary, "openai:big", occasion)


def learned(store: Store, settings: Settings, **how: Any) -> str:
    """The version of a Summarizer that is taught now."""
    examples = examples_for(Expert.SUMMARIZER, store)
    return teach(
        Expert.SUMMARIZER, settings, store, examples, RECIPE, command="whylike train summarizer", **how
    ).version


def test_an_adapter_and_those_that_go_on_from_it_say_that_they_saw_a_forgotten_user(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Store.open(settings) as store:
        fill(store)
        parent = learned(store, settings)
        child = learned(store, settings, parent=parent)
        assert store.saw(WHO) == []
        assert store.saw_forgotten(parent) == 0
        assert not left(settings.store / "adapters", [WHO, "zorblatt1."]), "a card travels, and names nobody"
        done = forget(settings, store, WHO)
        seen = {each.version: each for each in done.adapters}
        assert set(seen) == {parent, child}
        assert {each.retrain for each in done.adapters} == {"whylike train summarizer"}
        assert not any(each.live or each.was_live for each in done.adapters)
        anew = learned(store, settings)
        assert anew not in seen
        assert [store.saw_forgotten(each) for each in (parent, child, anew)] == [1, 1, 0]
        caplog.clear()
        heir = learned(store, settings, parent=parent)
        assert store.saw_forgotten(heir) == 1
        assert any("learned from users who have since been forgotten" in each.message for each in caplog.records)
        assert not left(settings.store, [WHO])
        assert store.readmit(WHO)
        store.add_reviews([Review(review_id="new", user_id=WHO, item_id="i1", rating=3, text="Back.", timestamp=1)])
        assert store.saw_forgotten(parent) == 1, "what it saw is forgotten all the same"
    monkeypatch.setenv("WHYLIKE_STORE", str(settings.store))
    monkeypatch.setenv("WHYLIKE_MODEL", settings.model)
    run: Callable[..., Result] = lambda *asked: CliRunner().invoke(app, list(asked))  # noqa: E731
    shown = " ".join(run("adapters", "show", child).stdout.split())
    assert "it learned from 1 user forgotten since, which its weights cannot undo; `whylike train summarizer`" in shown
    assert "forgotten" not in run("adapters", "show", anew).stdout
    assert json.loads(run("adapters", "show", heir, "--json").stdout)["saw_forgotten"] == 1
    run("adapters", "promote", parent)
    run("adapters", "promote", anew)
    told = run("profile", "forget", "--user", WHO, "--yes")
    assert told.exit_code == 0, told.stderr
    assert f"  {parent} (was live): `whylike train summarizer` trains one without" in told.stdout.splitlines()
    assert anew not in told.stdout


def test_no_later_example_has_a_forgotten_user(settings: Settings) -> None:
    with Services.open(settings) as services:
        fill(services.store)
        asked = {"limit": None, "reasons": 5, "seed": 0}

        def users() -> list[set[str]]:
            made = [lessons.examples(services, each, **asked) for each in (Expert.PREDICTOR, Expert.REWARD)]
            made.append(examples_for(Expert.SUMMARIZER, services.store))
            return [{user for example in examples for user in example.users} for examples in made]

        def text() -> str:
            made = [lessons.examples(services, each, **asked) for each in (Expert.PREDICTOR, Expert.REWARD)]
            made.append(examples_for(Expert.SUMMARIZER, services.store))
            return "".join(each.model_dump_json(exclude={"users"}) for examples in made for each in examples)

        assert all(each == {WHO, *(f"u{n}" for n in range(12) if n != 1)} for each in users())
        assert "Zorblatt1." in text()
        forget(settings, services.store, WHO)
        assert all(each == {f"u{n}" for n in range(12) if n != 1} for each in users())
        assert "Zorblatt1." not in text()
        assert "Zorblatt2." in text()


def test_a_training_that_runs_while_one_of_its_users_is_forgotten_comes_to_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(settings) as store:
        fill(store)

        def trained(*given: Any, **more: Any) -> Any:
            done = train(*given, **more)
            forget(settings, store, WHO)
            return done

        monkeypatch.setattr(teaching, "train", trained)
        with pytest.raises(UsageError, match="has asked to be forgotten since it began; run the same command again"):
            learned(store, settings)
        monkeypatch.undo()
        assert store.adapters() == []
        assert not [path for path in (settings.store / FOLDER).iterdir() if path.is_dir()]
        assert not left(settings.store, [WHO])
        assert store.saw_forgotten(learned(store, settings)) == 0


def test_a_training_whose_examples_are_older_than_a_forgetting_does_not_begin(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "train", None)
    with Store.open(settings) as store:
        fill(store)
        old = examples_for(Expert.SUMMARIZER, store)
        forget(settings, store, WHO)
        with pytest.raises(UsageError, match="has asked to be forgotten"):
            teach(Expert.SUMMARIZER, settings, store, old, RECIPE, command="c")
        assert store.adapters() == []


def test_a_training_that_was_broken_off_does_not_go_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(settings) as store:
        fill(store)

        def broken(base: object, examples: object, validation: object, recipe: object, work: Path, **_: Any) -> None:
            (work / "checkpoints" / "checkpoint-5").mkdir(parents=True, exist_ok=True)
            raise KeyboardInterrupt

        for _ in range(2):
            with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
                patched.setattr(teaching, "train", broken)
                learned(store, settings)
        (work,) = [path for path in (settings.store / FOLDER).iterdir() if path.is_dir()]
        with FileLock(work.with_suffix(".lock")):
            forget(settings, store, WHO)
            assert work.is_dir(), "it runs, and finds out by itself"
        learned(store, settings)
        assert not work.exists(), "or the next training clears it away"


def test_who_is_in_an_example_is_no_part_of_what_it_teaches() -> None:
    annotation = ReasonAnnotation(
        title="T",
        user_likes=("warm tone",),
        item_likes=("soft strings",),
        text="The user enjoys a warm tone. Others praise the soft strings.",
    )
    decision = ReasonDecision(
        review_id="r",
        user_id="ann",
        item_id="i",
        outcome="kept",
        read=("a", "b", "gone"),
        annotation=annotation,
        sampler="s",
        reward="r",
        tau=0.1,
        tries=0,
    )
    authors = {"a": "bob", "b": "cy"}
    (example,) = decided_examples([decision], authors)
    assert example.users == {"ann", "bob", "cy"}
    live = Occasion(teacher="t", purpose=Purpose.LIVE_REASON, user_id="ann", item_id="i", reviews=("a", "b", "gone"))
    assert [each.users for each in reason_examples([(annotation, live), (annotation, None)], authors)] == [
        {"ann", "bob", "cy"},
        frozenset(),
    ]
    assert hash_of([example]) == hash_of([example.model_copy(update={"users": frozenset()})])
    assert Example(prompt=example.prompt, answer="", group="").users == frozenset()
