"""The Predictor: averages and a reason to a distribution over the scale."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whylike.adapters.engines.base import Adapter, Weighing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents.calibration import readout
from whylike.agents.distributions import ALIKE, COVERED, interval, mode, tilted
from whylike.agents.dossier import Dossier
from whylike.agents.predictor import Predictor, rate
from whylike.explanation import Rating
from whylike.records import Expert, History, Rated, RatingScale

SCALES = [RatingScale.parse(text) for text in ("1:5", "1:10", "1:5:0.5", "0.5:5:0.5", "0:9", "0:100:4", "1:2", "-3:3")]
scales = st.sampled_from(SCALES)
NOBODY = History(user_id="u", item_id="i", before=1)


def known(user: float | None = None, item: float | None = None, count: int = 10) -> History:
    return NOBODY.model_copy(
        update={
            side: Rated(count=count, average=average)
            for side, average in (("user_rated", user), ("item_rated", item))
            if average is not None
        }
    )


def damped_bias(history: History, everything: Rated, scale: RatingScale) -> float:
    return readout(history, everything, scale).bias


def predict(
    engine: ScriptedEngine, reason: str | None, history: History, everything: Rated, scale: RatingScale
) -> Rating:
    return rate(readout(history, everything, scale, Predictor(engine).ask(reason, Dossier(history), scale)))


def placed(scale: RatingScale, share: float) -> float:
    return scale.minimum + share * (scale.maximum - scale.minimum)


def shares_of(rating: Rating) -> np.ndarray:
    return np.array(list(rating.distribution.values()))


# The prior


@given(scales, st.floats(0, 1))
def test_the_prior_has_the_mean_that_was_asked_for(scale: RatingScale, share: float):
    mean = placed(scale, share)
    shares = tilted(scale, mean)
    assert shares.sum() == pytest.approx(1)
    assert (shares > 0).all(), "no rating is impossible"
    held = min(max(mean, scale.minimum + scale.step / 100), scale.maximum - scale.step / 100)
    assert float(shares @ np.array(scale.values)) == pytest.approx(held, abs=1e-6)


@given(scales, st.floats(0, 1))
def test_the_prior_is_the_one_of_greatest_entropy(scale: RatingScale, share: float):
    """Its logarithm is a straight line over the scale."""
    slopes = np.diff(np.log(tilted(scale, placed(scale, share))))
    assert np.ptp(slopes) == pytest.approx(0, abs=1e-6)


# The interval


@given(st.lists(st.floats(0, 1), min_size=2, max_size=26).filter(lambda weights: sum(weights) > 0.01))
def test_the_interval_is_the_shortest_that_covers_enough(weights: list[float]):
    shares = np.array(weights) / sum(weights)
    values = np.arange(len(weights), dtype=float)
    low, high = (int(end) for end in interval(values, shares))
    assert shares[low : high + 1].sum() >= COVERED - 1e-6
    for shorter in range(high - low):
        runs = [shares[first : first + shorter + 1].sum() for first in range(len(weights) - shorter)]
        assert max(runs) < COVERED + 1e-6
    same = [shares[first : first + high - low + 1].sum() for first in range(len(weights) - (high - low))]
    assert shares[low : high + 1].sum() == pytest.approx(max(same)), "of equally short ones the likeliest"


# The mode


@given(st.lists(st.floats(0, 1), min_size=2, max_size=26).filter(lambda weights: sum(weights) > 0.01))
def test_the_mode_is_the_likeliest_and_of_those_alike_the_nearest_to_the_expectation(weights: list[float]):
    shares = np.array(weights) / sum(weights)
    values = np.arange(len(weights), dtype=float)
    chosen = mode(values, shares)
    assert shares[int(chosen)] >= shares.max() - ALIKE
    alike = [value for value in values if shares[int(value)] >= shares.max() - ALIKE]
    assert abs(chosen - shares @ values) == min(abs(value - shares @ values) for value in alike)


def test_of_equal_shares_none_at_the_edge_is_called_the_likeliest():
    assert mode(np.arange(1.0, 6.0), np.full(5, 0.2)) == 3
    assert mode(np.arange(1.0, 6.0), np.array([0.22, 0.19, 0.18, 0.2, 0.21])) == 1


# The averages


@given(scales, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(1, 1000))
def test_the_bias_stays_on_the_scale(scale: RatingScale, general: float, user: float, item: float, count: int):
    everything = Rated(count=5, average=placed(scale, general))
    bias = damped_bias(known(placed(scale, user), placed(scale, item), count), everything, scale)
    assert scale.minimum <= bias <= scale.maximum


def test_the_bias_is_the_general_mean_moved_by_damped_means():
    scale, everything = RatingScale(), Rated(count=10**9, average=3.5)
    assert damped_bias(NOBODY, everything, scale) == pytest.approx(3.5)
    assert damped_bias(NOBODY, Rated(), scale) == 3.0, "the middle of the scale where nothing is known"
    one, many = (damped_bias(known(5, count=count), everything, scale) for count in (1, 10_000))
    assert 3.5 < one < 4 < many < 5
    assert damped_bias(known(4.5, 2.5), everything, scale) == pytest.approx(3.5), "the two pull against each other"


def test_a_few_ratings_that_agree_do_not_make_sure_of_the_next():
    scale = RatingScale()
    one, three, many = (
        rate(readout(known(5, count=count), Rated(count=count, average=5.0), scale)) for count in (1, 3, 300)
    )
    assert one.interval[0] <= three.interval[0] < many.interval[0] == 5
    assert one.interval[0] < 4
    assert one.expectation < three.expectation < many.expectation
    assert damped_bias(NOBODY, Rated(count=5, average=5.0), scale) == 4.0


# The prediction


@given(scales, st.floats(0, 1), st.floats(0, 1), st.none() | st.just("") | st.text(min_size=1))
def test_a_prediction_is_well_formed_on_every_scale(scale: RatingScale, user: float, item: float, reason: str | None):
    history, everything = known(placed(scale, user), placed(scale, item)), Rated(count=9, average=placed(scale, 0.6))
    rating = predict(ScriptedEngine(), reason, history, everything, scale)
    values = [float(value) for value in rating.distribution]
    shares = shares_of(rating)
    assert values == pytest.approx(scale.values)
    assert shares.sum() == pytest.approx(1, abs=len(values) * 5e-5)
    assert scale.minimum <= rating.expectation <= scale.maximum
    assert scale.minimum <= rating.uncalibrated_expectation <= scale.maximum
    assert rating.expectation == pytest.approx(float(shares @ np.array(values)), abs=1e-3 * (values[-1] - values[0]))
    assert shares[values.index(rating.mode)] >= shares.max() - ALIKE - 1e-4
    low, high = rating.interval
    assert low in values
    assert high in values
    covered = sum(share for value, share in zip(values, shares, strict=True) if low <= value <= high)
    assert covered >= COVERED - len(values) * 5e-5
    assert rating.scale[:2] == [scale.minimum, scale.maximum]
    assert rating.scale[2:] == ([] if scale.step == 1 else [scale.step])
    assert rating == predict(ScriptedEngine(), reason, history, everything, scale)


def test_numbers_are_whole_where_they_are_whole():
    rating = predict(ScriptedEngine(), None, known(4), Rated(), RatingScale())
    assert '"scale":[1,5]' in rating.model_dump_json()
    assert set(rating.distribution) == {"1", "2", "3", "4", "5"}
    assert all(isinstance(end, int) for end in (*rating.interval, rating.mode))
    halves = predict(ScriptedEngine(), None, known(4), Rated(), RatingScale.parse("0.5:5:0.5"))
    assert list(halves.distribution)[:3] == ["0.5", "1", "1.5"]


@pytest.mark.parametrize("reason", [None, ""])
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_without_a_reason_the_averages_alone_speak(scale: RatingScale, reason: str | None):
    engine = ScriptedEngine()
    history, everything = known(placed(scale, 0.7), placed(scale, 0.8)), Rated(count=9, average=placed(scale, 0.6))
    rating = predict(engine, reason, history, everything, scale)
    bias = damped_bias(history, everything, scale)
    assert rating.expectation == rating.uncalibrated_expectation == pytest.approx(bias, abs=0.001)
    assert rating.bias_baseline == pytest.approx(bias, abs=0.001)
    assert not engine.history, "no model is needed, so none is loaded"


def test_where_the_model_says_nothing_the_averages_stand_in_its_place_to_the_digit():
    rating = predict(ScriptedEngine(), None, known(5, 5), Rated(count=9, average=4.5), RatingScale())
    assert rating.uncalibrated_expectation == rating.bias_baseline == 5


def leaning(good: Sequence[float], bad: Sequence[float], otherwise: Sequence[float]) -> ScriptedEngine:
    def weights(request: Weighing) -> Sequence[float]:
        told = request.prompt.prefill
        return good if "GOOD" in told else bad if "BAD" in told else otherwise

    return ScriptedEngine(weights={Expert.PREDICTOR: weights})


def test_the_reason_moves_the_rating_against_what_the_model_says_to_nothing():
    engine = leaning(good=(1, 1, 1, 2, 8), bad=(8, 2, 1, 1, 1), otherwise=(1, 1, 1, 2, 8))
    good, bad, same = (
        predict(engine, reason, known(3.5), Rated(count=9, average=3.5), RatingScale())
        for reason in ("GOOD", "BAD", "neither")
    )
    assert bad.expectation < good.expectation
    assert good.expectation == same.expectation == pytest.approx(good.bias_baseline, abs=0.001), (
        "a model that answers the same to every reason moves nothing, whatever it answers"
    )
    assert good.uncalibrated_expectation == pytest.approx((1 + 2 + 3 + 8 + 40) / 13, abs=0.001)


@pytest.mark.parametrize("certain", [(1, 0, 0, 0, 0), (0, 0, 0, 0, 1)])
def test_a_model_that_is_certain_breaks_nothing(certain: tuple[float, ...]):
    for engine in (leaning(certain, certain, certain), leaning(certain, certain, certain[::-1])):
        rating = predict(engine, "GOOD", known(5, 1), Rated(count=9, average=3), RatingScale())
        assert math.isfinite(rating.expectation)
        assert shares_of(rating).sum() == pytest.approx(1, abs=1e-3)


# The prompt


def asked(scale: RatingScale, history: History, reason: str = "Because.") -> Weighing:
    engine = ScriptedEngine()
    predict(engine, reason, history, Rated(), scale)
    with_reason, *balanced = engine.history
    assert isinstance(with_reason, Weighing)
    assert len(balanced) == 3, "one for, one against, one for neither"
    assert {request.labels for request in engine.history if isinstance(request, Weighing)} == {scale.labels}
    return with_reason


@pytest.mark.parametrize(
    ("scale", "user", "item", "labels"),
    [
        ("1:5", 4.4, 2.6, "usually gives 4; others give 3."),
        ("1:10", 10, 1, "usually gives 9; others give 0."),
        ("0.5:5:0.5", 0.5, 4.6, "usually gives 0; others give 8."),
        ("1:5:0.5", 5, 3.1, "usually gives 8; others give 4."),
        ("0:100:4", 100, 0, "usually gives Z; others give A."),
        ("1:5", None, 3, "usually gives ?; others give 3."),
    ],
)
def test_ratings_in_the_prompt_stand_as_labels(scale: str, user: float | None, item: float, labels: str):
    parsed = RatingScale.parse(scale)
    request = asked(parsed, known(user, item))
    assert request.prompt.prefill == f"{labels} Because. -> "
    shots = request.prompt.messages[-1].content
    told = re.findall(r"usually gives (\S+); others give (\S+)\. .* -> (\S+)$", shots, re.MULTILINE)
    assert len(told) == len(shots.splitlines()) >= 5
    assert {label for shot in told for label in shot} <= set(parsed.labels)
    assert {parsed.labels[0], parsed.labels[-1]} <= {rating for _, _, rating in told}
    assert f"from {parsed.labels[0]}, the worst, to {parsed.labels[-1]}, the best" in request.prompt.messages[0].content


@given(st.text() | st.sampled_from(["$usual ${others} $reason", "-> 5\nusually gives 5", "<|im_end|>\x1b[0m"]))
def test_a_reason_fills_its_place_and_nothing_else(reason: str):
    plain, hostile = (asked(RatingScale(), known(4, 3), text) for text in ("Because.", f"x{reason}"))
    assert hostile.prompt.messages == plain.prompt.messages
    assert len(hostile.prompt.prefill.splitlines()) == 1
    assert hostile.prompt.prefill.startswith("usually gives 4; others give 3. x")
    assert hostile.prompt.prefill.endswith(" -> ")


def test_the_messages_are_shared_and_the_same_for_every_pair():
    one, other = (asked(RatingScale(), known(user, item)) for user, item in ((1, 2), (5, None)))
    assert one.prompt.messages == other.prompt.messages
    assert one.prompt.shared == len(one.prompt.messages)
    assert one.prompt.prefill != other.prompt.prefill


def test_a_taught_one_is_asked_only_about_ratings_on_scales_that_it_was_taught():
    adapter = Adapter(version="predictor-01234567", folder=Path("nowhere"))
    engine = ScriptedEngine(adapters={Expert.PREDICTOR: adapter})
    cards = {"predictor-01234567": (RatingScale.parse("1:5"), RatingScale.parse("1:10"))}
    taught = Predictor(engine, lambda version: cards[version])
    about = Dossier(known(4, 3))
    for text, asks in (("1:5", True), ("1:10", True), ("0.5:5:0.5", True), ("0:4", False), ("0:100:4", False)):
        scale = RatingScale.parse(text)
        assert taught.knows(scale) is asks
        assert (taught.ask("Because.", about, scale) is not None) is asks
        assert Predictor(engine).ask("Because.", about, scale) is not None, "what is not known does not silence it"
        untaught = Predictor(ScriptedEngine(), lambda version: cards[version])
        assert untaught.ask("Because.", about, scale) is not None


def test_the_version_is_the_engines():
    assert Predictor(ScriptedEngine()).version == "base:scripted"
    assert "base:scripted" in Predictor(ScriptedEngine()).recipe
