"""The Predictor: the averages and the reason, to a distribution over the rating scale.

The distribution is read off the model's logits at the one position where the rating stands (method: the Predictor;
Reason4Rec and EXP3RT both take the softmax over the scale's tokens only). What the untaught model answers there leans
one way whatever the reason says, so its answer is compared with what it answers on the whole to a reason for, one
against and one for neither (contextual calibration, Zhao et al. 2021, "Calibrate Before Use", section 4), and the
difference moves a prior that knows the averages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template

import numpy as np
import yaml
from numpy.typing import NDArray

from whylike.adapters.engines.base import Engine, Message, Prompt, Weighing
from whylike.agents.prompting import inert
from whylike.agents.recipe import constants
from whylike.records import Expert, History, Number, Rated, Rating, RatingScale, Record

DAMPING = 5.0
"""Ratings at the general mean that stand beside the real ones in a damped mean (lenskit's default is 5)."""
TRUST = 0.25
"""Power of the model's evidence against the prior: low, since the untaught model hardly tells a reason for from one
against and does not bring the forecast nearer (`whylike bench pairs`); what it says moves the rating by hundredths."""
ALIKE = 0.005
"""Shares that differ by less are shown as the same percentage: neither is likelier."""
COVERED = 0.8
"""Share of the distribution within the interval."""


class _Shot(Record):
    text: str
    usual: float
    others: float
    place: float


class _RatingFile(Record):
    system: str
    examples: tuple[_Shot, ...]
    query: str
    balanced: tuple[str, ...]


class Predictor:
    """Asks the predictor expert of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def version(self) -> str:
        """The adapter version that rates now."""
        return self._engine.adapter_version(Expert.PREDICTOR)

    @property
    def recipe(self) -> list[object]:
        """All that a rating is made by, whatever the pair: with another recipe, a rating that was kept is stale."""
        return [self.version, _file().model_dump(mode="json"), constants(sys.modules[__name__])]

    def predict(self, reason: str | None, history: History, everything: Rated, scale: RatingScale) -> Rating:
        """The rating that the user of `history` would give. Without a reason the averages alone speak.

        Args:
            reason: The Reasoner's text, without sentences that state a rating.
            history: What is known of the pair; its averages are used.
            everything: Count and mean of all ratings earlier than the pair.
            scale: The store's rating scale.

        Raises:
            EngineError: The engine failed.
        """
        bias = damped_bias(history, everything, scale)
        prior = tilted(scale, bias)
        pooled = heard = prior
        if reason:
            asked = [_weighing(text, history, scale) for text in (reason, *_file().balanced)]
            answers = [np.array(answer.probabilities) for answer in self._engine.weigh(asked)]
            heard = answers[0]
            lean = np.mean([_log(answer) for answer in answers[1:]], axis=0)
            pooled = _softmax(np.log(prior) + TRUST * (_log(heard) - lean))
        values = np.array(scale.values)
        return Rating(
            scale=_plain_scale(scale),
            expectation=round(float(pooled @ values), 3),
            mode=plain(mode(values, pooled)),
            distribution={f"{value:g}": round(float(share), 4) for value, share in zip(values, pooled, strict=True)},
            interval=[plain(value) for value in interval(values, pooled)],
            uncalibrated_expectation=round(float(heard @ values), 3),
            bias_baseline=round(bias, 3),
        )


def damped_bias(history: History, everything: Rated, scale: RatingScale) -> float:
    """The rating that the averages alone foretell: the general mean, moved by the damped user and item means."""
    general = everything.average if everything.average is not None else (scale.minimum + scale.maximum) / 2
    moved = general
    for rated in (history.user_rated, history.item_rated):
        if rated.average is not None:
            moved += (rated.average - general) * rated.count / (rated.count + DAMPING)
    return min(max(moved, scale.minimum), scale.maximum)


def tilted(scale: RatingScale, mean: float) -> NDArray[np.float64]:
    """The distribution over the scale of greatest entropy with this mean: p(r) proportional to exp(tilt * r).

    At either end of the scale the mean is held a hundredth of a step away from it, so that no rating is impossible.
    """
    values = np.array(scale.values)
    margin = scale.step / 100
    wanted = min(max(mean, scale.minimum + margin), scale.maximum - margin)
    places = (values - values.mean()) / (values[-1] - values[0])
    low, high = -1000.0, 1000.0
    for _ in range(80):
        tilt = (low + high) / 2
        shares = _softmax(tilt * places)
        low, high = (tilt, high) if shares @ values < wanted else (low, tilt)
    return shares


def mode(values: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """The likeliest value; of those alike to `ALIKE` the one nearest to the expectation, of two as near the lower."""
    likely = values[shares >= shares.max() - ALIKE]
    return float(likely[np.abs(likely - shares @ values).argmin()])


def interval(values: NDArray[np.float64], shares: NDArray[np.float64]) -> tuple[float, float]:
    """The shortest run of values that holds at least `COVERED` of the shares; of equally short ones the likeliest."""
    runs = [
        (last - first, -float(shares[first : last + 1].sum()), first, last)
        for first in range(len(values))
        for last in range(first, len(values))
        if shares[first : last + 1].sum() >= COVERED - 1e-9
    ]
    _, _, first, last = min(runs)
    return float(values[first]), float(values[last])


def plain(value: float) -> Number:
    """Whole numbers without a point, as the published document has them."""
    return int(value) if value.is_integer() else value


def _plain_scale(scale: RatingScale) -> list[Number]:
    ends = [plain(scale.minimum), plain(scale.maximum)]
    return ends if scale.step == 1 else [*ends, plain(scale.step)]


def _log(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(shares, 1e-9))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logits - logits.max())
    return np.asarray(shares / shares.sum())


@cache
def _file() -> _RatingFile:
    text = resources.files("whylike.agents.prompts").joinpath("rating.yaml").read_text(encoding="utf-8")
    return _RatingFile.model_validate(yaml.safe_load(text))


def _weighing(reason: str, history: History, scale: RatingScale) -> Weighing:
    """The question for one reason: all ratings in it stand as the scale's labels."""
    file, labels = _file(), scale.labels

    def label(rating: float | None) -> str:
        if rating is None:
            return "?"
        return labels[scale.values.index(scale.nearest(rating))]

    def placed(share: float) -> str:
        return label(scale.minimum + share * (scale.maximum - scale.minimum))

    shots = [
        Template(f"{shot.text} -> $place").substitute(
            usual=placed(shot.usual), others=placed(shot.others), place=placed(shot.place)
        )
        for shot in file.examples
    ]
    query = Template(file.query).substitute(
        usual=label(history.user_rated.average), others=label(history.item_rated.average), reason=inert(reason)
    )
    messages: Sequence[Message] = (
        Message(role="system", content=Template(file.system).substitute(low=labels[0], high=labels[-1])),
        Message(role="user", content="\n".join(shots)),
    )
    # The tokenizer has no token for a space and a digit, so the space stands at the end of what is given.
    prompt = Prompt(messages=tuple(messages), prefill=f"{query} -> ", shared=len(messages))
    return Weighing(expert=Expert.PREDICTOR, prompt=prompt, labels=labels)
