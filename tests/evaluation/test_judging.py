"""A new adapter is promoted only where it is shown not to be worse, on both sets and in every figure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whylike.evaluation.judging import FROZEN, NEWEST, Compared, compare, f1, judge, root_mean_square

MARGIN = 0.08


def figure(on: str, worse: float, wide: float = 0.05, *, enough: bool = True, name: str = "RMSE") -> Compared:
    return Compared(
        on=on,
        figure=name,
        examples=60,
        before=0.8,
        after=0.8 + worse,
        worse=worse,
        low=worse - wide,
        high=worse + wide,
        margin=MARGIN,
        enough=enough,
    )


figures = st.builds(
    figure,
    st.sampled_from([NEWEST, FROZEN]),
    st.floats(-0.5, 0.5),
    st.floats(0, 0.3),
    enough=st.booleans(),
    name=st.sampled_from(["RMSE", "calibrated RMSE"]),
)


@given(st.lists(figures, max_size=6))
def test_it_is_promoted_only_if_no_figure_on_either_set_may_be_worse_than_the_margin(compared: list[Compared]) -> None:
    verdict = judge(compared)
    on_both = {each.on for each in compared} == {NEWEST, FROZEN}
    assert verdict.promoted is (on_both and all(each.high <= MARGIN and each.enough for each in compared))
    assert verdict.why


@given(st.lists(figures, min_size=2, max_size=6), st.integers(0, 5), st.floats(0.001, 0.5))
def test_a_figure_that_gets_worse_never_helps(compared: list[Compared], which: int, more: float) -> None:
    one = compared[which % len(compared)]
    worse = one.model_copy(update={"high": one.high + more})
    changed = [worse if each is one else each for each in compared]
    assert judge(compared).promoted or not judge(changed).promoted


@given(st.integers(0, 2**32), st.floats(0.5, 2), st.integers(40, 200))
@settings(max_examples=20)
def test_ratings_that_are_clearly_worse_or_better_are_told_apart(seed: int, spoilt: float, count: int) -> None:
    chance = np.random.default_rng(seed)
    good = chance.normal(0, 0.5, count)
    bad = good + spoilt * chance.choice([-2, 2], count)
    owners = [f"u{number % 30}" for number in range(count)]
    down = compare(NEWEST, "RMSE", root_mean_square(good), root_mean_square(bad), owners, MARGIN)
    up = compare(NEWEST, "RMSE", root_mean_square(bad), root_mean_square(good), owners, MARGIN)
    assert (down.passed, up.passed) == (False, True)
    assert down.worse == pytest.approx(-up.worse)
    same = compare(NEWEST, "RMSE", root_mean_square(good), root_mean_square(good), owners, 0)
    assert (same.worse, same.high, same.passed) == (0, 0, True)


def test_a_higher_f1_is_better() -> None:
    poor, rich = (np.array([[agree, 4.0, 4.0]] * 30) for agree in (1, 3))
    owners = [f"i{number}" for number in range(30)]
    found = compare(FROZEN, "F1", f1(poor), f1(rich), owners, 0.02, higher_is_better=True)
    assert (found.before, found.after, found.worse, found.passed) == (0.25, 0.75, -0.5, True)
    found = compare(FROZEN, "F1", f1(rich), f1(poor), owners, 0.02, higher_is_better=True)
    assert (found.worse, found.passed) == (0.5, False)


def test_few_users_are_no_evidence() -> None:
    off = np.zeros(100)
    found = compare(NEWEST, "RMSE", root_mean_square(off), root_mean_square(off), ["one"] * 100, MARGIN)
    assert not found.passed
    assert "fewer than 5 users" in judge([found, figure(FROZEN, -0.1)]).why


def test_the_reason_names_the_figure_and_the_set_that_failed() -> None:
    why = judge([figure(NEWEST, -0.1), figure(FROZEN, 0.2), figure(FROZEN, 0.05, name="calibrated RMSE")]).why
    assert why == (
        "its RMSE on the frozen examples may be worse by 0.2500, and 0.0800 is allowed (0.8000 before, 1.0000 after)"
    )
