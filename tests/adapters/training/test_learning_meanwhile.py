"""What else may happen while an expert learns: others learn, add, talk, forget and promote, and it is killed."""

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
from learner import KILLS, add, judged, learn, live, reviews

from whylike.agents.turns import Routed, Turn
from whylike.evaluation.courses.ratings import Ratings
from whylike.evaluation.judging import FROZEN
from whylike.explanation import Explanation
from whylike.graph import learning, talking
from whylike.graph.choosing import Outcome
from whylike.graph.conversation import Conversation
from whylike.graph.forgetting import forget
from whylike.graph.learning import Watching
from whylike.graph.services import Services
from whylike.memory.database import HeldError
from whylike.memory.schema import Collection
from whylike.memory.store import Store
from whylike.records import Expert, Item
from whylike.settings import Settings


def test_two_at_once_are_refused_at_once_and_a_dry_run_is_not(settings: Settings) -> None:
    with Store.open(settings) as store, store.database.exclusive("learning"):
        with pytest.raises(HeldError, match=r"another whylike holds .*; wait until it is done or end it"):
            learn(settings)
        assert learn(settings, dry_run=True).outcome == "would learn"


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
