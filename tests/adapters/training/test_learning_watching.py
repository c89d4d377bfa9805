"""`whylike learn --watch` learns whenever enough has come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from learner import LEAST, PREDICTOR, add, judged, learn, reviews

from whylike.evaluation.courses.ratings import Ratings
from whylike.graph import learning
from whylike.memory.store import Store
from whylike.settings import Settings


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
