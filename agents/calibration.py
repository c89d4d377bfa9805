"""From what is known of a rating to one that can be believed: a small model that is fitted on ratings really given.

It begins at the damped bias, and moves it by a linear function of the averages and, where that was found to help, of
what the language model says. Around its mean stands the corpus' own distribution, tilted; its interval covers as many
ratings as it claims (cross-conformal, Vovk 2015; Romano et al. 2019 for ends that differ), and `graph.lately` keeps it
so as ratings come in. All is in shares of the scale, so that it serves any scale. `evaluation.calibrating` fits it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from whylike.agents.distributions import Floats, log, moments, softmax, tilted
from whylike.memory.ranked import DAMPING
from whylike.records import History, Rated, RatingScale, Record

RECENT = 10
"""Newest ratings of an item whose mean is looked at on its own."""
FARTHEST = 3.0
"""Standard deviations from its mean beyond which a feature says no more: counts grow, and one of few pairs that was
almost the same for all would be drawn out to anything later."""
USUAL_SPREAD = 0.2
"""Standard deviation of ratings, in shares of the scale, that stands in until a user or an item has several."""

LISTS = ("user_likes", "user_dislikes", "item_likes", "item_dislikes")
"""The lists of two profiles, the user's before the item's."""
DIMENSIONS = 6
"""In which it is said where a list stands."""

AVERAGES, EVIDENCE, CURVES, PROFILES, TEXTS, MODEL = "averages", "evidence", "curves", "profiles", "texts", "model"
GROUPS: dict[str, tuple[str, ...]] = {
    AVERAGES: ("user", "item"),
    EVIDENCE: ("user_count", "item_count", "user_spread", "item_spread", "recent"),
    CURVES: ("user_squared", "item_squared", "user_item"),
    PROFILES: (
        *(f"{own}_{other}_{how}" for own in LISTS[:2] for other in LISTS[2:] for how in ("mean", "best", "most")),
        *(f"{name}_count" for name in LISTS),
    ),
    TEXTS: tuple(f"{name}_{number}" for name in LISTS for number in range(DIMENSIONS)),
    MODEL: ("answered", "apart", "balance"),
}
"""The features by what they rest on; a calibrator may do without the later groups."""
USUAL = (AVERAGES, EVIDENCE, MODEL)
"""Those that an explanation knows."""


class Heard(Record):
    """What the model answered: `probabilities` to the reason, `leaning` (mean logarithms) to balanced ones.

    A taught Predictor was not asked about balanced ones: what it answered is a distribution by itself.
    """

    probabilities: tuple[float, ...]
    leaning: tuple[float, ...] | None = None

    @property
    def apart(self) -> Floats | None:
        """What it says of the reason against balanced ones, logarithms `[values]`; None where it was not asked."""
        return None if self.leaning is None else log(self.probabilities) - np.array(self.leaning)


class Readout(Record):
    """All that a rating is made from. Ratings are on `scale`."""

    scale: RatingScale
    general: float = Field(description="Mean of all earlier ratings, nearer the middle of the scale while they are few")
    user: Rated
    item: Rated
    user_spread: float | None = Field(default=None, description="Standard deviation of the newest ratings")
    item_spread: float | None = None
    recent: Rated = Rated()
    heard: Heard | None = None
    balance: float | None = Field(default=None, description="How far the reason's points speak for it, -2 to 2")
    stated: float = Field(default=0.0, description="How far what the user said of their own taste moves the rating")
    meeting: dict[str, float] = Field(default={}, description="Features of the two profiles, where they were read")

    @property
    def bias(self) -> float:
        """The rating that the averages alone foretell: the general mean, moved by the damped user and item means."""
        moved = self.general + damped(self.user, self.general) + damped(self.item, self.general)
        return min(max(moved, self.scale.minimum), self.scale.maximum)

    @property
    def features(self) -> dict[str, float]:
        """The features that are known, in shares of the scale where they are ratings."""
        span = self.scale.maximum - self.scale.minimum
        known = {
            "user": damped(self.user, self.general) / span,
            "item": damped(self.item, self.general) / span,
            "user_count": math.log1p(self.user.count),
            "item_count": math.log1p(self.item.count),
            "recent": damped(self.recent, self.general) / span,
        }
        known |= {
            "user_squared": known["user"] ** 2,
            "item_squared": known["item"] ** 2,
            "user_item": known["user"] * known["item"],
            **self.meeting,
        }
        for name, spread in (("user_spread", self.user_spread), ("item_spread", self.item_spread)):
            if spread is not None:
                known[name] = spread / span
        if self.heard is not None:
            # The bias is not taken off these: the model was asked about some pairs only, and their averages would get
            # weights of their own through what it did not say.
            values = np.array(self.scale.values)
            known["answered"] = self.scale.place(float(np.array(self.heard.probabilities) @ values))
            if self.heard.apart is not None:
                known["apart"] = self.scale.place(float(softmax(self.heard.apart) @ values))
        if self.balance is not None:
            known["balance"] = self.balance
        return known

    def spoken(self, trust: float) -> Floats:
        """The averages' distribution, moved by what the model says of the reason against balanced ones; `[values]`."""
        prior = tilted(self.scale, self.bias)
        if self.heard is None:
            return prior
        apart = self.heard.apart
        if apart is None:
            return softmax((1 - trust) * np.log(prior) + trust * log(self.heard.probabilities))
        return softmax(np.log(prior) + trust * apart)


class Term(Record):
    """One feature of a calibrator; where it is not known it adds nothing."""

    mean: float
    deviation: float
    weight: float


class Nested(Record):
    """How a calibrator of some groups does in cross-validation, on pairs that it was not fitted on."""

    groups: tuple[str, ...]
    penalty: float
    rmse: float = Field(description="In units of the rating scale")
    pairs: int = Field(description="Pairs of which something of the last group is known")
    gain: float = Field(description="Mean squared error on these less that of the groups chosen before it")
    error: float = Field(description="Standard error of the gain; the pairs of one user count as one")


class Calibrator(Record):
    """A fitted calibration of one adapter version of the predictor, used with one recipe."""

    predictor: str = Field(description="Adapter version and recipe (`Predictor.mark`)")
    groups: tuple[str, ...]
    intercept: float
    terms: dict[str, Term]
    histogram: tuple[float, ...] = Field(description="Shares of the scale's values, evenly spaced, lowest first")
    sharpness: float = Field(description="Power of the histogram: 0 is a flat one")
    lower: float = Field(description="Standard deviations from the mean to the interval's lower end")
    upper: float
    covered: float = Field(description="Share of the ratings that the interval claims to cover")
    pairs: int = Field(
        description="Pairs that it was fitted on; on those before the validation tenth the averages alone"
    )
    tried: tuple[Nested, ...] = Field(description="What cross-validation found, the smallest first")

    def place(self, readout: Readout) -> float:
        """The mean, in shares of the scale."""
        scale = readout.scale
        return min(max(scale.place(readout.bias) + self.intercept + moved(self.terms, readout.features), 0.0), 1.0)

    def distribution(self, readout: Readout) -> Floats:
        """Shares `[values]`."""
        scale = readout.scale
        mean = scale.minimum + self.place(readout) * (scale.maximum - scale.minimum)
        return tilted(scale, mean, based(self.histogram, self.sharpness, len(scale.values)))

    def interval(self, scale: RatingScale, shares: Floats) -> tuple[float, float]:
        """The ends of the interval around a distribution of this calibrator, on the scale and not beyond it."""
        mean, deviation = moments(scale.values, shares)
        low, high = mean - self.lower * deviation, mean + self.upper * deviation
        return max(low, scale.minimum), min(high, scale.maximum)

    def distance(self, readout: Readout, rating: float) -> float:
        """How far a rating is from the mean, as a share of the way to the interval's end on that side: 1 is the end."""
        mean, deviation = moments(readout.scale.values, self.distribution(readout))
        off = (rating - mean) / deviation
        return off / self.upper if off > 0 else -off / self.lower


def readout(
    history: History, everything: Rated, scale: RatingScale, heard: Heard | None = None, balance: float | None = None
) -> Readout:
    """What a rating is made from.

    Args:
        history: What is known of the pair.
        everything: Count and mean of all ratings earlier than the pair.
        scale: The store's rating scale.
        heard: What the model answered, if it was asked.
        balance: How far the points of the reason speak for the item, if there is one.
    """
    middle = (scale.minimum + scale.maximum) / 2
    newest = history.item_newest[:RECENT]
    return Readout(
        scale=scale,
        general=middle + damped(everything, middle),  # a store of three 5s does not know that all is a 5
        user=history.user_rated,
        item=history.item_rated,
        user_spread=_spread([review.rating for review in history.user_reviews], scale),
        item_spread=_spread(history.item_newest, scale),
        recent=Rated(count=len(newest), average=float(np.mean(newest)) if newest else None),
        heard=heard,
        balance=balance,
    )


def damped(rated: Rated, general: float) -> float:
    """How far ratings are from the general mean, less where they are few."""
    if rated.average is None:
        return 0.0
    return (rated.average - general) * rated.count / (rated.count + DAMPING)


def moved(terms: Mapping[str, Term], features: Mapping[str, float]) -> float:
    """What the terms of the known features add up to."""
    return sum(
        term.weight * min(max((features[name] - term.mean) / term.deviation, -FARTHEST), FARTHEST)
        for name, term in terms.items()
        if name in features
    )


def based(histogram: tuple[float, ...], sharpness: float, levels: int) -> Floats:
    """A histogram, raised to a power, on a scale of so many values."""
    shares = np.array(histogram)
    if len(shares) != levels:
        shares = np.interp(np.linspace(0, 1, levels), np.linspace(0, 1, len(shares)), shares)
    return softmax(sharpness * log(shares))


def quantile(distances: ArrayLike, share: float) -> float:
    """The least distance that `share` of them, and of one more that is above all, does not exceed; at least one."""
    ordered = np.sort(np.asarray(distances, dtype=np.float64))
    rank = int(np.ceil((len(ordered) + 1) * share - 1e-9))
    return float(ordered[min(max(rank, 1), len(ordered)) - 1])


def _spread(ratings: Sequence[float], scale: RatingScale) -> float | None:
    """The standard deviation of ratings, drawn to the usual one where they are few; None where there are none."""
    if not ratings:
        return None
    usual = USUAL_SPREAD * (scale.maximum - scale.minimum)
    squares = float(((np.array(ratings) - np.mean(ratings)) ** 2).sum())
    return math.sqrt((squares + DAMPING * usual**2) / (len(ratings) + DAMPING))
