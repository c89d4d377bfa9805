"""Reward-filtered reasons: which candidate is kept, what is recorded, and that a run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from lettered import Letters

from whylike.adapters.engines.base import Adapter, Weighing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.adapters.training.examples import place
from whylike.adapters.training.teach import HELD_OUT, examples_for
from whylike.agents.teacher import Case, Sampler
from whylike.errors import BudgetError, EngineError, UsageError
from whylike.evaluation.reasoning import newest
from whylike.graph import filtering
from whylike.graph.filtering import Filtered
from whylike.graph.pair import Services
from whylike.memory.splits import split
from whylike.records import Expert, Item, ReasonDecision, Review
from whylike.settings import Settings

REWARD = Adapter(version="reward-01234567", folder=Path("nowhere"))
GOOD = "The user likes bright strings. Others praise the bright strings."
BAD = "The user likes nothing. BAD it is."


def judge(request: Weighing) -> Sequence[float]:
    """Expects 3 without a reason, 4 with a good one, 1 with a bad one."""
    reason = request.prompt.messages[-1].content.rpartition("Reason: ")[2]
    return (0, 0, 1, 0, 0) if reason == "none" else (1, 0, 0, 0, 0) if "BAD" in reason else (0, 0, 0, 1, 0)


class Scripted:
    """Writes what it is told to, by number of the candidate."""

    name = mark = "test"

    def __init__(self, *texts: str | Exception) -> None:
        self._texts = texts
        self.asked: list[tuple[str, bool, int]] = []

    def sample(self, case: Case, *, hint: bool, number: int) -> str:
        self.asked.append((case.given.title, hint, number))
        text = self._texts[min(number, len(self._texts) - 1)]
        if isinstance(text, BaseException):
            raise text
        return text


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[Services]]:
    """Opens a store whose ratings are all 4."""
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)

    @contextmanager
    def opened(reward: Adapter | None = REWARD) -> Iterator[Services]:
        adapters = {Expert.REWARD: reward} if reward else {}
        engine = ScriptedEngine(weights={Expert.REWARD: judge}, adapters=adapters)
        with Services.open(Settings(store=tmp_path / "store", engine="scripted"), engine=engine) as services:
            services.store.add_items(Item(item_id=f"i{number}", title=f"Item {number}") for number in range(9))
            services.store.add_reviews(
                Review(
                    review_id=f"r{number}",
                    user_id=f"u{number % 5}",
                    item_id=f"i{number % 9}",
                    rating=4,
                    text=f"Bright strings all through, {number}. Cheap covers tear at once.",
                    timestamp=number,
                )
                for number in range(45)
            )
            yield services

    return opened


Opened = Callable[..., AbstractContextManager[Services]]


def filter_reasons(services: Services, sampler: Sampler, *, limit: int, **how: Any) -> Filtered:
    """For a sample of the training part, as the command has it."""
    return filtering.filter_reasons(services, sampler, filtering.chosen_pairs(services, limit, seed=0), **how)


def decisions(services: Services) -> list[ReasonDecision]:
    return list(services.store.decisions().values())


@pytest.mark.parametrize(
    ("texts", "outcome", "counts", "gaps"),
    [
        ((GOOD,), "kept", (1, 0), (-1,)),
        ((BAD, GOOD), "hinted", (2, 0), (2, -1)),
        (("It gets 4 from the user.", BAD, GOOD), "hinted", (3, 1), (2, -1)),
        ((BAD,), "dropped", (4, 0), (2, 2, 2, 2)),
        (("A solid rating.",), "dropped", (4, 4), ()),
        (("", GOOD), "hinted", (2, 0), (-1,)),
    ],
)
def test_a_candidate_is_kept_where_the_reward_expert_comes_nearer(
    store: Opened, texts: tuple[str, ...], outcome: str, counts: tuple[int, int], gaps: tuple[float, ...]
):
    sampler, (candidates, leaked) = Scripted(*texts), counts
    with store() as services:
        found = filter_reasons(services, sampler, limit=2, tries=3)
        made = decisions(services)
    assert [each.outcome for each in made] == [outcome] * 2
    assert {(each.candidates, each.leaked, each.gaps) for each in made} == {(candidates, leaked, gaps)}
    assert [getattr(found, name) for name in ("kept", "hinted", "dropped")].count(2) == 1
    assert (found.sampler, found.reward) == ("test", REWARD.version)
    assert (found.pairs, found.candidates, found.leaked) == (2, 2 * candidates, 2 * leaked)
    assert all(hint is (number > 0) for _, hint, number in sampler.asked)
    for each in made:
        assert (each.annotation is not None) is (outcome in {"kept", "hinted"})
        assert (each.sampler, each.reward, each.tau, each.tries) == ("test", REWARD.version, 0.1, 3)


@pytest.mark.parametrize(("tau", "outcome"), [(-0.9, "kept"), (-1.0, "dropped")])
def test_tau_is_how_much_farther_it_may_lead(store: Opened, tau: float, outcome: str):
    with store() as services:
        filter_reasons(services, Scripted(GOOD), limit=1, tau=tau, tries=0)
        assert [each.outcome for each in decisions(services)] == [outcome]


def test_kept_reasons_are_what_the_reasoner_learns_from(store: Opened):
    with store() as services:
        filter_reasons(services, Scripted(GOOD), limit=5)
        made = decisions(services)
        learned = examples_for(Expert.REASONER, services.store)
        parts = split(services.store)
    assert len(made) == len(learned) == 5
    training = {pair.review_id: pair for pair in parts.training}
    for each in made:
        assert each.review_id in training, "nothing is learned from a pair that calibrates or measures"
        assert place(each.item_id, 0) >= HELD_OUT
        assert each.annotation is not None
        assert each.annotation.text == GOOD
        assert any("right strings" in like for like in each.annotation.user_likes)
        assert str(training[each.review_id].timestamp) not in " ".join(each.annotation.user_likes)
    assert {example.group for example in learned} == {each.item_id for each in made}
    assert all("bright strings" in example.answer for example in learned)


def test_a_pair_that_calibrates_or_measures_is_not_learned_by_a_training_and_its_item_not_measured(store: Opened):
    with store() as services:
        parts = split(services.store)
        pairs = [*parts.validation, *parts.test]
        found = filtering.filter_reasons(services, Scripted(GOOD), pairs, tries=0)
        assert found.kept == len(pairs), "as `whylike learn` finds them"
        assert examples_for(Expert.REASONER, services.store) == []
        with pytest.raises(UsageError, match="of an item that no Reasoner may learn from"):
            newest(services.store, None, 0)


def test_a_run_that_ends_early_goes_on_where_it_was_and_then_changes_nothing(store: Opened):
    with store() as services:
        sampler = Scripted(GOOD)

        def dies(done: int, _: int) -> None:
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            filter_reasons(services, sampler, limit=8, workers=1, told=dies)
        there = len(decisions(services))
        assert 3 <= there < 8
    with store() as services:
        again = Scripted(BAD)
        found = filter_reasons(services, again, limit=8, tries=0)
        assert (found.kept, found.dropped, found.decided_now) == (0, 8, 8), "with other settings all are decided anew"
        first = filter_reasons(services, sampler, limit=8)
        assert (first.kept, first.decided_now) == (8, 8 - there)
        assert len(sampler.asked) == 8, "each pair is decided once"
        second = filter_reasons(services, sampler, limit=8)
        assert second == first.model_copy(update={"decided_now": 0})
        assert len(sampler.asked) == 8


def test_of_a_pair_the_latest_decision_counts(store: Opened):
    """What a lenient try let pass is not learned once a stricter one, or one made before and made again, drops it."""
    with store() as services:

        def learned(**settings: float) -> int:
            filter_reasons(services, Scripted(BAD), limit=4, tries=0, **settings)
            return len(examples_for(Expert.REASONER, services.store))

        before = filter_reasons(services, Scripted(GOOD), limit=4, tries=0, tau=0.5)
        assert (before.kept, len(examples_for(Expert.REASONER, services.store))) == (4, 4)
        assert learned(tau=0.1) == 0
        assert learned(tau=0.5) == 4, "decided before, and again the latest"
        assert learned(tau=0.1) == 0


def test_what_one_writer_could_not_do_takes_nothing_from_another(store: Opened):
    class Another(Scripted):
        name = mark = "another"

    with store() as services:
        filter_reasons(services, Scripted(GOOD), limit=4, tries=0)
        assert filter_reasons(services, Another(BAD), limit=4, tries=0).dropped == 4
        assert len(examples_for(Expert.REASONER, services.store)) == 4


def test_a_failed_call_is_recorded_and_tried_again_by_the_next_run(store: Opened):
    calls = iter(range(100))

    class Unreliable(Scripted):
        def sample(self, case: Case, *, hint: bool, number: int) -> str:
            if next(calls) % 3 == 1:
                raise EngineError("it is tired")
            return super().sample(case, hint=hint, number=number)

    with store() as services:
        found = filter_reasons(services, Unreliable(GOOD), limit=6, workers=1)
        assert (found.kept, found.failed) == (4, 2)
        assert {each.why for each in decisions(services)} == {"", "it is tired"}
        found = filter_reasons(services, Scripted(GOOD), limit=6)
        assert (found.kept, found.failed, found.decided_now, len(decisions(services))) == (6, 0, 2, 6)
        with pytest.raises(EngineError, match=r"nobody; 5 in a row failed"):
            filter_reasons(services, Scripted(EngineError("nobody")), limit=9, tau=0.2, workers=1)
        assert len(decisions(services)) <= 6 + filtering.IN_A_ROW + 1
        with pytest.raises(EngineError, match="nobody; 2 in a row failed"):
            filter_reasons(services, Scripted(EngineError("nobody")), limit=2, tau=0.3)


def test_a_run_whose_budget_is_used_up_ends_and_another_pays_no_candidate_twice(store: Opened):
    class Poor(Scripted):
        def sample(self, case: Case, *, hint: bool, number: int) -> str:
            if len(self.asked) == 5:
                raise BudgetError("used up")
            return super().sample(case, hint=hint, number=number)

    with store() as services:
        poor = Poor(BAD, BAD, GOOD)
        found = filter_reasons(services, poor, limit=4, workers=1)
        assert (found.stopped, found.hinted, found.decided_now, found.left) == ("used up", 1, 1, 3)
        rich = Scripted(BAD, BAD, GOOD)
        found = filter_reasons(services, rich, limit=4, workers=1)
        assert (found.stopped, found.hinted, found.decided_now, found.left) == ("", 4, 3, 0)
        assert [number for _, _, number in rich.asked] == [2, 0, 1, 2, 0, 1, 2], "two of the second pair were there"


def test_without_a_reward_expert_nothing_is_judged(store: Opened):
    with store(reward=None) as services, pytest.raises(UsageError, match="whylike train reward"):
        filter_reasons(services, Scripted(GOOD), limit=2)
