"""A running process and what is promoted meanwhile, here or in another process."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from threading import Event as Signal

import pytest

from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.adapters.registry.identity import CONFIG, WEIGHTS, fingerprint
from whylike.adapters.registry.registry import Registry
from whylike.errors import StoreError
from whylike.explanation import Explanation
from whylike.graph.pair import Services, explain
from whylike.memory.store import Store
from whylike.records import AdapterCard, Expert, RatingScale
from whylike.settings import Settings

NOW = 2_000
BASE = "base:scripted"


@pytest.fixture
def settings(folder: Path) -> Settings:
    return Settings(store=folder, engine="scripted")


@pytest.fixture
def elsewhere(settings: Settings, fill: Callable[..., None]) -> Iterator[Registry]:
    """Another process's view of the store: what it promotes, this one has to notice."""
    with Store.open(settings) as store:
        fill(store)
        yield Registry(settings, store)


@pytest.fixture
def added(elsewhere: Registry, tmp_path: Path) -> Callable[[Expert, str], str]:
    """Adds an adapter that the scripted engine takes: it looks at no weights."""

    def add(expert: Expert, weights: str, *scales: RatingScale) -> str:
        folder = tmp_path / f"made-{weights}"
        folder.mkdir()
        (folder / CONFIG).write_text("{}")
        (folder / WEIGHTS).write_text(weights)
        content = fingerprint(folder)
        version = f"{expert}-{content[:8]}"
        shutil.copytree(folder, elsewhere.folder / version)
        elsewhere._store.add_adapter(
            AdapterCard(
                expert=expert,
                created_at=1,
                command="test",
                version=version,
                content_hash=content,
                base_model="any",
                rank=1,
                scales=scales,
            )
        )
        return version

    return add


@pytest.fixture
def following(settings: Settings, elsewhere: Registry) -> Iterator[Services]:
    with Services.open(settings) as services:
        yield replace(services, now=lambda: NOW)


def asked(services: Services, **more: object) -> Explanation:
    return explain(services, "ann", "ice", **more)


def test_the_next_query_is_answered_by_what_was_promoted_meanwhile(
    following: Services, elsewhere: Registry, added: Callable[..., str]
) -> None:
    first = asked(following)
    assert set(first.adapters.values()) == {BASE}
    summarizer, reasoner = added(Expert.SUMMARIZER, "one"), added(Expert.REASONER, "two")
    elsewhere.promote(summarizer, "ann")
    elsewhere.promote(reasoner, "ann")
    second = asked(following)
    assert second.adapters == {"summarizer": summarizer, "reasoner": reasoner, "predictor": BASE}
    ids = [evidence.id for evidence in second.evidence]
    assert len(following.store.summaries(ids, following.summarizer.mark)) == len(ids)
    assert second.evidence != first.evidence, "another adapter's summaries are others"
    for expert in (Expert.SUMMARIZER, Expert.REASONER):
        elsewhere.roll_back(expert, "ann")
    third = asked(following)
    assert third.model_dump(exclude={"seconds"}) == first.model_dump(exclude={"seconds"})


def test_a_new_process_begins_with_what_is_live(
    settings: Settings, elsewhere: Registry, added: Callable[..., str]
) -> None:
    version = added(Expert.REASONER, "one")
    elsewhere.promote(version, "ann")
    with Services.open(settings) as services:
        assert services.reasoner.version == version
    (elsewhere.folder / version / WEIGHTS).write_text("forged")
    with pytest.raises(StoreError, match="has been changed since it was added"), Services.open(settings):
        pass


def test_an_engine_that_the_caller_brings_keeps_its_adapters(
    settings: Settings, elsewhere: Registry, added: Callable[..., str]
) -> None:
    elsewhere.promote(added(Expert.REASONER, "one"), "ann")
    with Services.open(settings, engine=ScriptedEngine()) as services:
        assert asked(services).adapters["reasoner"] == BASE


def test_what_does_not_load_is_told_and_the_version_before_goes_on(
    following: Services, elsewhere: Registry, added: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = added(Expert.REASONER, "one"), added(Expert.REASONER, "two")
    elsewhere.promote(good, "ann")
    asked(following)
    elsewhere.promote(bad, "ann")
    (elsewhere.folder / bad / WEIGHTS).write_text("forged")
    with caplog.at_level(logging.WARNING, "whylike"):
        assert [asked(following).adapters["reasoner"] for _ in range(2)] == [good, good]
    (warned,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert f"{bad} has been changed since it was added" in warned
    elsewhere.promote(added(Expert.REASONER, "three"), "ann")
    assert asked(following).adapters["reasoner"] not in {good, bad}


def test_a_query_under_way_ends_with_the_versions_that_it_began_with(
    following: Services, elsewhere: Registry, added: Callable[..., str]
) -> None:
    """The next one waits for it, so that no answer is made by two versions."""
    version = added(Expert.SUMMARIZER, "one")
    within, go_on = Signal(), Signal()

    def heard(event: object) -> None:
        within.set()
        assert go_on.wait(60)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(asked, following, on_event=heard)
        assert within.wait(60)
        elsewhere.promote(version, "ann")
        second = pool.submit(asked, following)
        condition = following.following._changed
        while not condition._waiters:  # it takes the lock, finds the promotion, and waits
            assert not second.done()
        go_on.set()
        assert first.result(60).adapters["summarizer"] == BASE
        assert second.result(60).adapters["summarizer"] == version


def test_a_query_inside_a_query_belongs_to_it(
    following: Services, elsewhere: Registry, added: Callable[..., str]
) -> None:
    """It must not wait for itself, on whatever thread."""
    version = added(Expert.REASONER, "one")
    with following.query(), ThreadPoolExecutor(1) as pool:
        elsewhere.promote(version, "ann")
        assert asked(following).adapters["reasoner"] == BASE
        assert pool.submit(copy_context().run, asked, following).result(60).adapters["reasoner"] == BASE
    assert asked(following).adapters["reasoner"] == version


def test_a_predictor_of_other_scales_is_silent_and_the_answer_says_so(
    following: Services, elsewhere: Registry, added: Callable[..., str]
):
    version = added(Expert.PREDICTOR, "ten", RatingScale.parse("1:10"))
    elsewhere.promote(version, by="test")
    foreign = asked(following)
    assert foreign.adapters["predictor"] == version
    assert foreign.rating.uncalibrated_expectation == pytest.approx(foreign.rating.bias_baseline, abs=0.01)
    assert any(
        note.startswith(f"The Predictor {version} was not taught on ratings from 1 to 5") for note in foreign.notes
    )
    elsewhere.promote(added(Expert.PREDICTOR, "five", RatingScale.parse("1:5")), by="test")
    own = asked(following)
    assert abs(own.rating.uncalibrated_expectation - own.rating.bias_baseline) > 0.01
    assert not any("was not taught" in note for note in own.notes)
