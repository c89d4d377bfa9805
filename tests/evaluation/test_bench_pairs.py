"""Which pairs are drawn from a store, and the figures of their answers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from whylike.errors import UsageError
from whylike.evaluation.pairs import EARLIER, Asked, bench_pairs, figures, sample
from whylike.graph import services as services_module
from whylike.graph.services import Services
from whylike.memory.embeddings import Embedder
from whylike.memory.store import Store
from whylike.records import Explanation, Rating, Reason, Review, Sentence
from whylike.settings import Settings


def add(store: Store, user: str, times: list[int]) -> None:
    store.add_reviews(
        Review(
            review_id=f"{user}-{number}",
            user_id=user,
            item_id=f"i{number % 6}",
            rating=1 + number % 5,
            text=f"The sound is warm and the cover {number} is poor.",
            timestamp=time,
        )
        for number, time in enumerate(times)
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Settings(store=tmp_path / "store")) as opened:
        yield opened


def test_only_reviews_after_four_earlier_ones_are_drawn(store: Store) -> None:
    add(store, "few", [1, 2, 3, 4])
    add(store, "many", [10, 20, 30, 40, 50, 60])
    add(store, "same", [7, 7, 7, 7, 7, 7, 8])  # reviews of one second are not earlier than one another
    drawn = sample(store, 100, seed=0)
    assert sorted((pair.user_id, pair.timestamp) for pair in drawn) == [("many", 50), ("many", 60), ("same", 8)]
    assert {pair.rating for pair in drawn if pair.user_id == "many"} == {1 + 4 % 5, 1 + 5 % 5}


def test_a_seed_draws_the_same_pairs_and_another_seed_others(store: Store) -> None:
    for number in range(8):
        add(store, f"u{number}", list(range(1, 20)))
    first = sample(store, 10, seed=1)
    assert len(set(first)) == 10
    assert first == sample(store, 10, seed=1)
    assert set(first) != set(sample(store, 10, seed=2))


def explanation(expectation: float, mode: int, alone: float, bias: float, supported: list[bool] | None) -> Explanation:
    sentences = [Sentence(text="Fine.", evidence=["r"] if each else [], supported=each) for each in supported or []]
    rating = Rating(
        scale=[1, 5],
        expectation=expectation,
        mode=mode,
        distribution={"1": 0.5, "5": 0.5},
        interval=[1, 5],
        uncalibrated_expectation=alone,
        bias_baseline=bias,
    )
    return Explanation(
        user_id="u",
        item_id="i",
        as_of=0,
        rating=rating,
        reason=None if supported is None else Reason(text="Fine.", sentences=sentences),
        profiles={"user": {"likes": [], "dislikes": []}, "item": {"likes": [], "dislikes": []}},
        evidence=[],
        adapters={"summarizer": "a", "reasoner": "b", "predictor": "c"},
        engine="scripted",
        seconds={"summarize": 0, "reason": 0, "predict": 0},
    )


def test_the_figures_are_those_worked_out_by_hand() -> None:
    asked = [Asked("u", "i", rating, 0) for rating in (1, 5, 3)]
    answers = [
        explanation(2, 1, 3, 2, [True, True]),
        explanation(5, 5, 3, 4, [True, False]),
        explanation(3, 4, 3, 3, None),
    ]
    found = figures(asked, answers, seed=0)
    assert {name: off.mae for name, off in found.readouts.items()} == pytest.approx(
        {"expectation": 1 / 3, "uncalibrated_expectation": 4 / 3, "mode": 1 / 3}, abs=1e-4
    )
    assert found.baselines["bias"].rmse == pytest.approx((2 / 3) ** 0.5, abs=1e-4)
    assert found.differences["expectation-bias"].rmse == pytest.approx((1 / 3) ** 0.5 - (2 / 3) ** 0.5, abs=1e-4)
    assert set(found.differences) == {f"{name}-bias" for name in found.readouts}
    assert (found.sentences, found.supported, found.without_reason) == (4, 0.75, 1)


def test_answers_without_sentences_have_no_share_of_support() -> None:
    assert figures([Asked("u", "i", 1, 0)], [explanation(2, 1, 3, 2, [])], seed=0).supported is None


class Hashed(Embedder):
    """Vectors by a hash of the words."""

    def _encode(self, texts: list[str]) -> np.ndarray:
        directions = [
            [np.random.default_rng(zlib.crc32(word.encode())).standard_normal(384) for word in f"{text} ".split(" ")]
            for text in texts
        ]
        sums = np.array([np.sum(each, axis=0) for each in directions])
        return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


def test_the_benchmark_explains_pairs_of_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services_module, "Embedder", Hashed)
    with Services.open(Settings(store=tmp_path, engine="scripted")) as services:
        with pytest.raises(UsageError, match=f"has {EARLIER + 1} reviews"):
            bench_pairs(services, 3, 0)
        for number in range(3):
            add(services.store, f"u{number}", [100 * time + number for time in range(1, 8)])
        news = []
        bench = bench_pairs(services, 3, 0, lambda *told: news.append(told))
        assert news == [("explaining pairs", done, 3) for done in (1, 2, 3)]
        assert bench.pairs == 3
        assert bench.seconds_per_pair > 0
        assert bench.sentences > 0
        assert bench.settings.engine == "scripted"
        again = bench_pairs(services, 3, 0)
    assert (bench.summaries_made > 0, again.summaries_made) == (True, 0)
    changing = {"machine", "seconds_per_pair", "summaries_made"}
    assert again.model_dump(exclude=changing) == bench.model_dump(exclude=changing)
