"""The speed and parity benchmarks: figures by hand, and both run for real on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from whylike.errors import UsageError
from whylike.evaluation.apprentices import sample
from whylike.evaluation.engines import Speed, _combined
from whylike.evaluation.parity import Answers, parity
from whylike.memory.store import Store
from whylike.records import Review
from whylike.settings import Settings


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Settings(store=tmp_path / "store")) as opened:
        yield opened


def add(store: Store, count: int, words: int) -> None:
    store.add_reviews(
        Review(
            review_id=f"{words}-{number}",
            user_id=f"u{number}",
            item_id="i",
            rating=1 + number % 5,
            text=f"It is number {number}. " * (words // 4),
            timestamp=number,
        )
        for number in range(count)
    )


def test_only_reviews_of_some_length_are_drawn_and_too_few_are_refused(store: Store):
    add(store, 30, 4)
    add(store, 12, 24)
    drawn = sample(store, 10, 0)
    assert drawn == sample(store, 10, 0) != sample(store, 10, 1)
    assert all(len(row.text.split()) >= 20 for row in drawn)
    with pytest.raises(UsageError, match="has 12 reviews of 20 words or more, and 13 are needed"):
        sample(store, 13, 0)


def test_parity_is_worked_out_by_hand():
    exact = Answers(together=[], alone=[(1, 0, 0, 0, 0), (0.2,) * 5], texts=["a", "b"])
    half = (0.5, 0.125, 0.125, 0.125, 0.125)
    other = (0.6, 0.1, 0.1, 0.1, 0.1)
    found = parity(Answers(together=[half, other], alone=[half, half], texts=["a", "c"]), exact)
    # The expectation of `half` is 0.5 + 0.125 * 14 = 2.25; the exact ones are 1 and 3.
    assert (found.expectation_difference, found.largest_difference) == (1.0, 1.25)
    assert found.same_texts == 0.5
    assert found.company == pytest.approx(0.40547, abs=1e-5), "log(0.6 / 0.4) from log(0.5 / 0.5)"


def speed(value: float) -> Speed:
    figures = dict.fromkeys(Speed.model_fields, value)
    return Speed(
        **{**figures, "prefill_tokens_per_s": {"1": value}, "decode_tokens_per_s": {"1": value, "4": 2 * value}}
    )


def test_figures_are_combined_one_by_one():
    found = _combined([speed(1), speed(2), speed(9)], lambda values: sorted(values)[1])
    assert found == speed(2)
    assert _combined([speed(3), speed(2)], lambda pair: pair[0] / pair[1]).decode_tokens_per_s == {"1": 1.5, "4": 1.5}
