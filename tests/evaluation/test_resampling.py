"""Intervals, strangers, and chances by permutation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whylike.evaluation import resampling
from whylike.evaluation.resampling import chance_of_more, estimate, permuted, rank_correlation, strangers


@pytest.fixture(autouse=True)
def _fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "PERMUTATIONS", 499)


def test_an_interval_holds_the_figure_and_narrows_with_more_rows():
    values = np.random.default_rng(0).normal(3, 1, 400)
    few, many = (estimate(n, lambda rows: float(values[rows].mean()), 0, resamples=200) for n in (20, 400))
    assert few.low < few.value < few.high
    assert many.low < many.value < many.high
    assert many.high - many.low < (few.high - few.low) / 2


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=9), st.integers(0, 3))
def test_strangers_share_nothing_and_nobody_is_taken_twice(keys, seed):
    found = strangers(keys, seed)
    assert all(not set(keys[row]) & set(keys[other]) for row, other in found.items())
    assert len(set(found.values())) == len(found)
    assert found == strangers(keys, seed)


def test_everybody_gets_a_stranger_where_there_are_enough():
    keys = [(f"u{number}", f"i{number % 10}") for number in range(30)]
    assert len(strangers(keys, 0)) == 30
    assert strangers(keys, 0) != strangers(keys, 1)
    assert strangers([], 0) == strangers([("a",)], 0) == strangers([("a",), ("a",)], 0) == {}


def test_differences_above_zero_are_no_chance_and_those_around_it_are():
    rng = np.random.default_rng(0)
    above, around = rng.normal(0.5, 1, 60), rng.normal(0, 1, 60)
    assert chance_of_more(above.tolist(), 0) < 0.01
    assert chance_of_more((around - around.mean()).tolist(), 0) > 0.1
    assert chance_of_more((-above).tolist(), 0) > 0.9
    assert chance_of_more([0.0] * 20, 0) == chance_of_more([3.0], 0) == chance_of_more([], 0) == 1
    assert chance_of_more([1.0] * 5, 0) == pytest.approx(1 / 32)


def test_a_correlation_by_ranks_and_its_chance():
    rising = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
    assert permuted(rising, [value**2 for value in rising], 0) == (pytest.approx(1), pytest.approx(0.002, abs=0.002))
    correlation, p = permuted(rising, [-value for value in rising], 0)
    assert (correlation, p) == (pytest.approx(-1), 1)
    assert permuted(rising, [3.0] * 7, 0) == (0, 1)
    assert permuted([], [], 0) == (0, 1)
    # By hand: ranks 1 2 3 4 and 2 1 4 3 differ by 1 each, so 1 - 6 * 4 / (4 * 15).
    assert rank_correlation([1, 2, 3, 4], [20, 10, 40, 30]) == pytest.approx(0.6)
