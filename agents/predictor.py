"""The Predictor: the averages and the reason, to a distribution over the rating scale.

The distribution is read off the model's logits at the one position where the rating stands (method: the Predictor;
Reason4Rec and EXP3RT both take the softmax over the scale's tokens only). What the untaught model answers there leans
one way whatever the reason says, so its answer is compared with what it answers on the whole to a reason for, one
against and one for neither (contextual calibration, Zhao et al. 2021, "Calibrate Before Use", section 4), and the
difference moves a prior that knows the averages, or goes into a calibrator where one was fitted. An adapter that was
taught is asked once, about all that is known of the pair (`agents.dossier`), with a reason or without: its answer is a
distribution by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from string import Template

import numpy as np
import yaml

from whylike.adapters.engines.base import Engine, Message, Prompt, Weighing
from whylike.agents import calibration, dossier
from whylike.agents.calibration import Calibrator, Heard, Readout
from whylike.agents.distributions import interval, log, mode, tilted
from whylike.agents.dossier import Dossier, label
from whylike.agents.prompting import inert, prompt_file
from whylike.agents.recipe import constants, recipe
from whylike.explanation import Rating
from whylike.records import Expert, History, Number, RatingScale, Record

TRUST = 0.25
"""Power of the model's evidence against the prior: low, since the untaught model hardly tells a reason for from one
against and does not bring the forecast nearer (`whylike evaluate ratings`); it moves the rating by hundredths. Of a
taught one, which comes about as near as the prior, it is the weight of its distribution beside that."""


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

    def __init__(self, engine: Engine, scales: Callable[[str], Sequence[RatingScale]] = lambda _: ()) -> None:
        """Ask an engine's predictor.

        Args:
            engine: What answers.
            scales: Those that an adapter version was taught on (`Registry.scales`); none where that is not known.
        """
        self._engine = engine
        self._scales = scales

    @property
    def version(self) -> str:
        """The adapter version that rates now."""
        return self._engine.adapter_version(Expert.PREDICTOR)

    @property
    def taught(self) -> bool:
        """Whether an adapter answers, which was trained to rate by all that is known of a pair."""
        return Expert.PREDICTOR.taught(self.version)

    def knows(self, scale: RatingScale) -> bool:
        """Whether it can say something of ratings on a scale: a taught one only by labels that it was taught with."""
        scales = self._scales(self.version) if self.taught else ()
        return not scales or scale.labels in {each.labels for each in scales}

    @property
    def recipe(self) -> list[object]:
        """All that the model is asked by, whatever the pair: with another recipe, an answer that was kept is stale."""
        own = constants(sys.modules[__name__])
        if self.taught:
            return [self.version, prompt_file(dossier.PROMPT).model_dump(mode="json"), constants(dossier), own]
        return [self.version, _file().model_dump(mode="json"), own]

    @property
    def mark(self) -> str:
        """The version and the recipe, also that of calibration: a part of what a calibrator is kept for."""
        own = [constants(calibration), calibration.GROUPS, Calibrator.model_json_schema()]
        return f"{self.version}+{recipe(self.recipe, own)}"

    def requests(self, reason: str | None, known: Dossier, scale: RatingScale) -> list[Weighing]:
        """What the model is asked: first about the reason, then, untaught, about balanced ones.

        Nothing where there is nothing to ask about: no reason, and for a taught one nothing known of either side, or a
        scale that it does not know.

        Args:
            reason: The Reasoner's text, without sentences that state a rating.
            known: What is known of the pair; of an untaught model only the averages are asked about.
            scale: The store's rating scale.
        """
        if self.taught:
            silent = (known.empty and not reason) or not self.knows(scale)
            return [] if silent else [dossier.request(Expert.PREDICTOR, known, scale, reason)]
        if not reason:
            return []
        return [_weighing(text, known.history, scale) for text in (reason, *_file().balanced)]

    def hear(self, requests: Sequence[Weighing]) -> Heard:
        """What the model answers to the requests of one pair. Raises `EngineError`."""
        first, *balanced = (answer.probabilities for answer in self._engine.weigh(requests))
        if not balanced:
            return Heard(probabilities=first)
        leaning = np.mean([log(answer) for answer in balanced], axis=0)
        return Heard(probabilities=first, leaning=tuple(leaning.tolist()))

    def ask(self, reason: str | None, known: Dossier, scale: RatingScale) -> Heard | None:
        """What the model answers to `requests`; None where there are none. Raises `EngineError`."""
        asked = self.requests(reason, known, scale)
        return self.hear(asked) if asked else None


def rate(known: Readout, calibrator: Calibrator | None = None) -> Rating:
    """The rating that a user would give. Without a calibrator the model's evidence moves the averages a little.

    What the user said of their own taste moves either (`agents.stated`).
    """
    scale = known.scale
    values = np.array(scale.values)
    alone = float(np.array(known.heard.probabilities) @ values) if known.heard else known.bias
    shares = calibrator.distribution(known) if calibrator else known.spoken(TRUST)
    if known.stated:
        shares = tilted(scale, float(shares @ values) + known.stated, shares)
    ends = calibrator.interval(scale, shares) if calibrator else interval(values, shares)
    return Rating(
        scale=_plain_scale(scale),
        expectation=round(float(shares @ values), 3),
        mode=plain(mode(values, shares)),
        distribution={f"{value:g}": round(float(share), 4) for value, share in zip(values, shares, strict=True)},
        interval=[plain(round(end, 3)) for end in ends],
        uncalibrated_expectation=round(alone, 3),
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

    def known(rating: float | None) -> str:
        return dossier.UNKNOWN if rating is None else label(rating, scale)

    def placed(share: float) -> str:
        return label(scale.minimum + share * (scale.maximum - scale.minimum), scale)

    shots = [
        Template(f"{shot.text} -> $place").substitute(
            usual=placed(shot.usual), others=placed(shot.others), place=placed(shot.place)
        )
        for shot in file.examples
    ]
    query = Template(file.query).substitute(
        usual=known(history.user_rated.average), others=known(history.item_rated.average), reason=inert(reason)
    )
    messages: Sequence[Message] = (
        Message(role="system", content=Template(file.system).substitute(low=labels[0], high=labels[-1])),
        Message(role="user", content="\n".join(shots)),
    )
    # The tokenizer has no token for a space and a digit, so the space stands at the end of what is given.
    prompt = Prompt(messages=tuple(messages), prefill=f"{query} -> ", shared=len(messages))
    return Weighing(expert=Expert.PREDICTOR, prompt=prompt, labels=labels)
