"""What a pair's query leaves in the store, and what a failure leaves of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents import summarizer
from whylike.agents.phrases import phrases
from whylike.errors import EngineError
from whylike.explanation import Explanation
from whylike.graph.pair import Event, Services, explain
from whylike.memory.history import history
from whylike.records import Expert, Review, Side

Opened = Callable[..., AbstractContextManager[Services]]
Check = Callable[[Explanation], None]
Said = Callable[[Explanation], dict[str, Any]]


def test_a_second_run_asks_the_model_nothing(services: Services, said: Said):
    engine = services.engine
    assert isinstance(engine, ScriptedEngine)
    first = explain(services, "dee", "waltz")
    asked = len(engine.history)
    assert {request.expert for request in engine.history} == {Expert.SUMMARIZER, Expert.REASONER, Expert.PREDICTOR}
    assert said(explain(services, "dee", "waltz")) == said(first)
    assert len(engine.history) == asked


def test_what_was_worked_out_survives_reopening(opened: Opened, said: Said):
    with opened() as made:
        first = explain(made, "dee", "waltz")
    silent = ScriptedEngine(fail_on=range(1, 100))
    with opened(silent) as made:
        assert said(explain(made, "dee", "waltz")) == said(first)
    assert not silent.history


def test_summaries_are_shared_by_pairs(services: Services):
    engine = services.engine
    assert isinstance(engine, ScriptedEngine)
    explain(services, "dee", "waltz")
    asked = len(engine.history)
    explain(services, "ben", "waltz")
    prompts = [request.prompt.prefill for request in engine.history[asked:] if request.expert is Expert.SUMMARIZER]
    assert prompts, "ben's reviews are new"
    assert len(prompts) == len(set(prompts))
    old = {request.prompt.prefill for request in engine.history[:asked] if request.expert is Expert.SUMMARIZER}
    assert not old & set(prompts)


def test_a_new_review_is_taken_into_account(services: Services):
    first = explain(services, "dee", "waltz")
    services.store.add_reviews(
        [
            Review(
                review_id="n", user_id="fay", item_id="waltz", rating=1, text="The clerks sing badly.", timestamp=1_800
            )
        ]
    )
    second = explain(services, "dee", "waltz")
    assert {evidence.id for evidence in second.evidence} - {evidence.id for evidence in first.evidence} == {"n"}
    assert second.rating.bias_baseline < first.rating.bias_baseline


def test_another_adapter_version_works_everything_out_again(opened: Opened, well_formed: Check):
    class Trained(ScriptedEngine):
        def adapter_version(self, expert: Expert) -> str:
            return f"{expert}:2"

    with opened() as made:
        explain(made, "dee", "waltz")
    trained = Trained()
    with opened(trained) as made:
        explanation = explain(made, "dee", "waltz")
    well_formed(explanation)
    assert {request.expert for request in trained.history} == {Expert.SUMMARIZER, Expert.REASONER, Expert.PREDICTOR}
    assert explanation.adapters["reasoner"] == "reasoner:2"


# Failure


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_failing_model_loses_nothing_that_was_worked_out(
    opened: Opened, corpus: tuple[Review, ...], tmp_path: Path, said: Said, call: int
):
    with opened(None, at=tmp_path / "other") as made:
        undisturbed = explain(made, "ann", "ice")
    failing = ScriptedEngine(fail_on=[call])
    with opened(failing) as made:
        with pytest.raises(EngineError, match=f"fail on call {call}"):
            explain(made, "ann", "ice")
        kept = made.store.summaries([review.review_id for review in corpus], made.summarizer.mark)
        failing.history.clear()
        assert said(explain(made, "ann", "ice")) == said(undisturbed)
    again = {request.prompt.prefill for request in failing.history}
    for review in corpus:
        if review.review_id in kept:
            assert not again & {f"{phrase} ->" for phrase in phrases(review.title, review.text)}


@pytest.mark.parametrize("expert", [Expert.REASONER, Expert.PREDICTOR])
def test_what_was_summarised_before_a_failure_is_kept(opened: Opened, expert: Expert, well_formed: Check):
    class Failing(ScriptedEngine):
        broken = True

        def _fail(self, asked: Expert) -> None:
            if self.broken and asked is expert:
                raise EngineError(f"the {expert} is broken")

        def weigh(self, requests: Any) -> Any:
            self._fail(requests[0].expert)
            return super().weigh(requests)

        def stream(self, request: Any, on_text: Any) -> Any:
            self._fail(request.expert)
            return super().stream(request, on_text)

    engine = Failing()
    with opened(engine) as made:
        with pytest.raises(EngineError, match="is broken"):
            explain(made, "dee", "waltz")
        assert made.store.counts().summaries == 5
        engine.broken = False
        engine.history.clear()
        well_formed(explain(made, "dee", "waltz"))
        asked = {request.expert for request in engine.history}
        assert asked == ({Expert.REASONER, Expert.PREDICTOR} if expert is Expert.REASONER else {Expert.PREDICTOR})


def test_what_another_recipe_made_is_made_anew(opened: Opened, monkeypatch: pytest.MonkeyPatch, well_formed: Check):
    with opened() as made:
        before = explain(made, "dee", "waltz")
        mark = made.summarizer.mark
    monkeypatch.setattr(summarizer, "FAINT", 0.0)
    events: list[Event] = []
    with opened() as made:
        assert made.summarizer.mark != mark
        after = explain(made, "dee", "waltz", on_event=events.append)
        ids = [evidence.id for evidence in after.evidence]
        assert set(made.store.summaries(ids, made.summarizer.mark)) == set(made.store.summaries(ids, mark)) == set(ids)
        latest = made.store.latest_profile(Side.USER, "dee")
        assert latest
        assert latest.adapter_version == made.summarizer.mark
    well_formed(after)
    assert ids == [evidence.id for evidence in before.evidence]
    assert [event.total for event in events if event.node == "summarize"][-1] == len(ids)


def test_a_kept_profile_says_when_it_is_of(services: Services):
    explain(services, "dee", "waltz")
    of_user = services.store.latest_profile(Side.USER, "dee")
    assert of_user
    assert of_user.as_of == 900, "the newest review that it rests on"
    assert of_user.average == pytest.approx(history(services.store, "dee", "waltz", 2_000).user_rated.average or 0)
