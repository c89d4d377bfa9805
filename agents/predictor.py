"""The Predictor: the averages and the reason, to a distribution over the rating scale.

The distribution is read off the model's logits at the one position where the rating stands (method: the Predictor;
Reason4Rec and EXP3RT both take the softmax over the scale's tokens only). What the untaught model answers there leans
one way whatever the reason says, so its answer is compared with what it answers on the whole to a reason for, one
against and one for neither (contextual calibration, Zhao et al. 2021, "Calibrate Before Use", section 4), and the
difference moves a prior that knows the averages, or goes into a calibrator where one was fitted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template

import numpy as np
import yaml

from whylike.adapters.engines.base import Engine, Message, Prompt, Weighing
from whylike.agents import calibration
from whylike.agents.calibration import Calibrator, Heard, Readout
from whylike.agents.distributions import interval, log, mode, tilted
from whylike.agents.prompting import inert
from whylike.agents.recipe import constants, recipe
from whylike.records import Expert, History, Number, Rating, RatingScale, Record

TRUST = 0.25
"""Power of the model's evidence against the prior: low, since the untaught model hardly tells a reason for from one
against and does not bring the forecast nearer (`whylike evaluate ratings`); it moves the rating by hundredths."""


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
        """All that the model is asked by, whatever the pair: with another recipe, an answer that was kept is stale."""
        return [self.version, _file().model_dump(mode="json"), constants(sys.modules[__name__])]

    @property
    def mark(self) -> str:
        """What a calibrator is kept for: the version and the recipe, also that of calibration itself."""
        own = [constants(calibration), calibration.GROUPS, Calibrator.model_json_schema()]
        return f"{self.version}+{recipe(self.recipe, own)}"

    def ask(self, reason: str | None, history: History, scale: RatingScale) -> Heard | None:
        """What the model answers to the reason, and to balanced ones; None without a reason.

        Args:
            reason: The Reasoner's text, without sentences that state a rating.
            history: What is known of the pair; its averages are used.
            scale: The store's rating scale.

        Raises:
            EngineError: The engine failed.
        """
        if not reason:
            return None
        asked = [_weighing(text, history, scale) for text in (reason, *_file().balanced)]
        first, *balanced = (answer.probabilities for answer in self._engine.weigh(asked))
        leaning = np.mean([log(answer) for answer in balanced], axis=0)
        return Heard(probabilities=first, leaning=tuple(leaning.tolist()))


def rate(known: Readout, calibrator: Calibrator | None = None) -> Rating:
    """The rating that a user would give. Without a calibrator the model's evidence moves the averages a little."""
    scale = known.scale
    values = np.array(scale.values)
    prior = tilted(scale, known.bias)
    heard = np.array(known.heard.probabilities) if known.heard else prior
    if calibrator:
        shares = calibrator.distribution(known)
        ends = calibrator.interval(scale, shares)
    else:
        shares = known.spoken(TRUST)
        ends = interval(values, shares)
    return Rating(
        scale=_plain_scale(scale),
        expectation=round(float(shares @ values), 3),
        mode=plain(mode(values, shares)),
        distribution={f"{value:g}": round(float(share), 4) for value, share in zip(values, shares, strict=True)},
        interval=[plain(round(end, 3)) for end in ends],
        uncalibrated_expectation=round(float(heard @ values), 3),
        bias_baseline=round(known.bias, 3),
    )


def plain(value: float) -> Number:
    """Whole numbers without a point, as the published document has them."""
    return int(value) if value.is_integer() else value


def _plain_scale(scale: RatingScale) -> list[Number]:
    ends = [plain(scale.minimum), plain(scale.maximum)]
    return ends if scale.step == 1 else [*ends, plain(scale.step)]


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
