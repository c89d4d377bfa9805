"""The calibrator: what it learns, what it leaves out, and whether its intervals hold what they claim."""

from __future__ import annotations

import numpy as np
import pytest

from whylike.agents.calibration import Calibrator, Heard, Readout
from whylike.agents.distributions import tilted
from whylike.agents.predictor import rate
from whylike.evaluation.calibrating import FOLDS, fit
from whylike.evaluation.distributions import coverage
from whylike.records import Rated, RatingScale

FIVE = RatingScale()
FLAT = [1] * 5


def drawn(
    count: int, seed: int, scale: RatingScale = FIVE, *, speaks: float = 0.0, trust: float = 1.0
) -> tuple[list[Readout], list[float]]:
    """Pairs whose ratings come from their averages (weighed by `trust`) and, as far as it `speaks`, from the model."""
    chance = np.random.default_rng(seed)
    values, span = np.array(scale.values), scale.maximum - scale.minimum
    found: list[Readout] = []
    real: list[float] = []
    for _ in range(count):
        user, item, told = chance.normal([0.7, 0.7, 0.7], [0.12, 0.12, 0.2]).clip(0.05, 0.95)
        known = Readout(
            scale=scale,
            general=scale.minimum + 0.7 * span,
            user=Rated(count=10, average=scale.minimum + user * span),
            item=Rated(count=10, average=scale.minimum + item * span),
            heard=Heard(
                probabilities=tuple(tilted(scale, scale.minimum + told * span)),
                leaning=tuple(np.log(tilted(scale, scale.minimum + 0.7 * span))),
            ),
        )
        place = (known.bias - scale.minimum) / span
        mean = scale.minimum + span * min(max(0.7 + trust * (place - 0.7) + speaks * (told - 0.7), 0.05), 0.95)
        found.append(known)
        real.append(float(chance.choice(values, p=tilted(scale, mean, np.linspace(1, 3, len(values))))))
    return found, real


def means(calibrator: Calibrator, readouts: list[Readout]) -> np.ndarray:
    return np.array([calibrator.distribution(each) @ np.array(each.scale.values) for each in readouts])


def rmse(foretold: np.ndarray, real: list[float]) -> float:
    return float(np.sqrt(np.mean((foretold - np.array(real)) ** 2)))


@pytest.mark.parametrize("seed", range(2))
def test_a_model_that_says_nothing_is_left_out_and_the_bias_stays(seed: int):
    calibrator = fit(*drawn(300, seed), FLAT)
    fresh, real = drawn(300, 50 + seed)
    assert "model" not in calibrator.groups
    assert any("model" in each.groups for each in calibrator.tried), "it was tried, and the report can say so"
    bias = np.array([each.bias for each in fresh])
    assert rmse(means(calibrator, fresh), real) < rmse(bias, real) * 1.02
    assert np.abs(means(calibrator, fresh) - bias).mean() < 0.12


def test_a_model_that_always_says_the_same_is_no_way_to_weigh_the_averages_of_its_pairs():
    same = Heard(probabilities=tuple(tilted(FIVE, 2.5)))
    older, newer = drawn(900, 11, trust=0.2), drawn(300, 12, trust=1.0)
    readouts = [each.model_copy(update={"heard": None}) for each in older[0]]
    readouts += [each.model_copy(update={"heard": same}) for each in newer[0]]
    calibrator = fit(readouts, older[1] + newer[1], FLAT, newest=300)
    assert any("model" in each.groups for each in calibrator.tried)
    assert "model" not in calibrator.groups


def test_a_model_that_speaks_the_truth_is_used():
    calibrator = fit(*drawn(300, 1, speaks=0.7), FLAT)
    fresh, real = drawn(300, 2, speaks=0.7)
    assert "model" in calibrator.groups
    (nested,) = (each for each in calibrator.tried if each.groups[-1:] == ("model",))
    assert nested.gain < -nested.error < 0
    without = fit(*drawn(300, 1, speaks=0.7), FLAT, groups=("averages", "evidence"))
    assert rmse(means(calibrator, fresh), real) < rmse(means(without, fresh), real) - 0.05


def test_averages_that_promise_too_much_are_taken_back():
    fresh, real = drawn(400, 4, trust=0.2)
    calibrator = fit(*drawn(400, 3, trust=0.2), FLAT)
    assert rmse(means(calibrator, fresh), real) < rmse(np.array([each.bias for each in fresh]), real)
    assert calibrator.terms["user"].weight < 0 > calibrator.terms["item"].weight


@pytest.mark.parametrize(
    ("scale", "covered", "seed"), [("1:5", 0.8, 1), ("1:10", 0.6, 2), ("1:10", 0.9, 3), ("0.5:5:0.5", 0.8, 4)]
)
def test_the_interval_holds_what_it_claims(scale: str, covered: float, seed: int):
    on = RatingScale.parse(scale)
    calibrator = fit(*drawn(300, seed, on), [1] * len(on.values), covered=covered)
    fresh, real = drawn(300, seed + 5000, on)
    intervals = [calibrator.interval(on, calibrator.distribution(each)) for each in fresh]
    found = coverage(intervals, real, covered)
    assert found.covered > covered - 0.09, "conformal, but for chance"
    if len(on.values) > 5:
        assert found.covered < covered + 0.12
    for low, high in intervals:
        assert on.minimum <= low <= high <= on.maximum


def test_the_interval_of_few_pairs_holds_what_it_claims_on_the_mean():
    on = RatingScale.parse("1:10")
    held = []
    for seed in range(16):
        calibrator = fit(*drawn(15, seed, on), [1] * 10, covered=0.8)
        fresh, real = drawn(100, 9000 + seed, on)
        intervals = [calibrator.interval(on, calibrator.distribution(each)) for each in fresh]
        held.append(coverage(intervals, real, 0.8).covered)
    assert 0.78 < np.mean(held) < 0.9


def test_what_a_model_gains_is_told_of_the_pairs_that_it_was_asked_about_and_a_users_pairs_count_as_one():
    older, newer = drawn(600, 21, speaks=0.7), drawn(200, 22, speaks=0.7)
    readouts = [each.model_copy(update={"heard": None}) for each in older[0]] + newer[0]
    real = older[1] + newer[1]
    one = fit(readouts, real, FLAT, newest=200)
    (averages, *_, model) = one.tried[1:]
    assert (averages.pairs, model.pairs) == (800, 200)
    alone = fit(*newer, FLAT).tried[-1]
    assert model.gain == pytest.approx(alone.gain, abs=0.05)
    doubled = fit(readouts * 2, real * 2, FLAT, owners=[f"u{number}" for number in range(800)] * 2).tried[-1]
    apart = fit(readouts * 2, real * 2, FLAT).tried[-1]
    assert doubled.error == pytest.approx(model.error, rel=0.2)
    assert apart.error < 0.85 * doubled.error


def test_a_model_that_was_heard_on_few_users_pairs_is_not_weighed():
    older, newer = drawn(120, 31), drawn(60, 32, speaks=1.0)
    readouts = [each.model_copy(update={"heard": None}) for each in older[0]] + newer[0]
    real = older[1] + newer[1]
    known = [f"u{number}" for number in range(120)]
    few, many = (
        fit(readouts, real, FLAT, newest=60, owners=[*known, *(f"v{number % count}" for number in range(60))])
        for count in (FOLDS - 1, 60)
    )
    assert "model" not in few.groups
    assert "model" in many.groups


def test_one_user_with_most_of_the_pairs_does_not_leave_the_interval_to_the_few_others():
    held = []
    for seed in range(8):
        readouts, real = drawn(100, 60 + seed)
        calibrator = fit(readouts, real, FLAT, covered=0.8, owners=["most"] * 88 + list("abcdefghijkl"))
        fresh, given = drawn(200, 7000 + seed)
        intervals = [calibrator.interval(FIVE, calibrator.distribution(each)) for each in fresh]
        held.append(coverage(intervals, given, 0.8).covered)
    assert 0.76 < np.mean(held) < 0.88
    assert max(held) - min(held) < 0.15, "the intervals of ten pairs would differ more from fit to fit"


def test_it_serves_other_scales_and_pairs_of_which_less_is_known():
    calibrator = fit(*drawn(200, 5, speaks=0.7), FLAT)
    assert Calibrator.model_validate_json(calibrator.model_dump_json()) == calibrator
    for scale in map(RatingScale.parse, ("1:5", "1:10", "0.5:5:0.5", "0:1")):
        nobody = Readout(scale=scale, general=scale.maximum, user=Rated(), item=Rated())
        rating = rate(nobody, calibrator)
        assert sum(rating.distribution.values()) == pytest.approx(1, abs=1e-3)
        assert scale.minimum <= rating.interval[0] <= rating.interval[1] <= scale.maximum
        assert rating.bias_baseline == scale.maximum
    (known,), _ = drawn(1, 6)
    assert rate(known, calibrator).expectation != rate(known).expectation
    assert rate(known, calibrator).uncalibrated_expectation == rate(known).uncalibrated_expectation


def test_two_fits_are_the_same():
    assert fit(*drawn(60, 7), FLAT) == fit(*drawn(60, 7), FLAT)


def test_counts_that_grow_beyond_those_it_was_fitted_on_draw_the_rating_nowhere():
    """All pairs of one user: the count is a clock, and what it foretells of later times is made up."""
    chance = np.random.default_rng(3)
    known = [
        Readout(
            scale=FIVE,
            general=3,
            user=Rated(count=100 + number, average=3),
            item=Rated(count=3, average=3),
            user_spread=1.2,
            item_spread=0.8 + 0.1 * float(chance.random()),
        )
        for number in range(60)
    ]
    # Ratings that rise while they are fitted on.
    given = [float(2 + (number >= 30) + int(chance.integers(2))) for number in range(60)]
    own = fit(known, given, FLAT)
    assert "evidence" in own.groups, "it must have taken the count for this test to see it"
    counted = [Rated(count=count, average=3) for count in (10**3, 10**4, 10**6)]
    later = [own.place(known[0].model_copy(update={"user": rated})) for rated in counted]
    assert later[0] == later[1] == later[2]
    assert later[0] <= own.place(known[-1]) + 0.25
