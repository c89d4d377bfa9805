"""The split by time leaks nothing, and the folds by user keep users together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whylike.memory.splits import Pair, by_time, folds, sample


def pairs(times: list[int]) -> list[Pair]:
    return [Pair(f"r{number}", "u", "i", 3.0, time) for number, time in enumerate(times)]


@given(st.lists(st.integers(0, 40), max_size=80))
def test_no_part_has_anything_later_than_the_next(times: list[int]):
    parts = by_time(pairs(times))
    assert sorted(pair.review_id for part in parts for pair in part) == sorted(f"r{n}" for n in range(len(times)))
    spans = [[pair.timestamp for pair in part] for part in parts]
    for number, earlier in enumerate(spans):
        for later in spans[number + 1 :]:
            assert not earlier or not later or max(earlier) < min(later), "reviews of one time stay together"


def test_the_parts_are_eight_tenths_one_and_one():
    parts = by_time(pairs(list(range(1000, 0, -1))))
    assert [len(part) for part in parts] == [800, 100, 100]
    assert max(pair.timestamp for pair in parts.earlier) < min(pair.timestamp for pair in parts.test) == 901


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 3))
def test_a_sample_is_of_the_pairs_and_the_same_for_one_seed(count: int, limit: int, seed: int):
    whole = pairs(list(range(count)))
    chosen = sample(whole, limit, seed)
    assert chosen == sample(whole, limit, seed)
    assert len(chosen) == min(count, limit)
    assert chosen == [pair for pair in whole if pair in chosen], "in order, none twice"


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40), st.integers(1, 6))
def test_folds_keep_a_user_together_and_everyone_once(users: list[str], count: int):
    made = folds(users, count, 0)
    assert sorted(place for fold in made for place in fold) == list(range(len(users)))
    owners = [{users[place] for place in fold} for fold in made]
    assert sum(map(len, owners)) == len(set(users))
    assert max(map(len, owners)) - min(map(len, owners)) <= 1
