"""What is lost without a part of the product: each ablation with a calibrator of its own, beside the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pydantic import Field

from whylike.agents.calibration import AVERAGES, MODEL, USUAL, Readout, readout
from whylike.agents.plans import stance
from whylike.agents.prompting import one_line
from whylike.agents.reasoner import reopened
from whylike.evaluation.ablation import Ablation
from whylike.evaluation.asking import Asked, at, at_once, expectations, model_alone
from whylike.evaluation.calibrating import fit
from whylike.evaluation.metrics import Difference, Error, difference, error
from whylike.graph.nodes import heard
from whylike.graph.pair import Services, explain_fully
from whylike.graph.sides import dossier_of, recalled
from whylike.memory.history import general
from whylike.preparing import Told
from whylike.records import History, ItemProfile, RatingScale, Record, Review

QUOTED = 30
"""Words of each review that the one step reads."""
READ = 5
"""Newest reviews of either side that the one step reads."""
GROUPS_OF: dict[Ablation, tuple[str, ...]] = {
    Ablation.NO_REASON: USUAL,
    Ablation.NO_AVERAGES: (MODEL,),
    Ablation.ONE_STEP: USUAL,
    Ablation.HELPFUL: USUAL,
    Ablation.NEIGHBOURS: USUAL,
}
"""What the calibrator of each ablation may use."""
PROFILES = {Ablation.HELPFUL: ItemProfile.HELPFUL, Ablation.NEIGHBOURS: ItemProfile.NEIGHBOURS}
"""Those that choose other reviews of the item."""


class Ablated(Record):
    """What is left without a part, with a calibrator of its own."""

    readouts: dict[str, Error]
    heard: int = Field(description="Test pairs on which the model was heard, with the part and without")
    model_difference: Difference | None = Field(
        description="On these: RMSE of what the model alone says less that of the whole's; None where there are none"
    )
    difference: Difference = Field(description="RMSE of its calibrated answer less that of the whole")
    changed: int = Field(description="Test pairs whose rating is made from something else than in the whole")


def ablate(
    services: Services,
    name: Ablation,
    *,
    plain: Sequence[Asked],
    before: Sequence[Asked],
    after: Sequence[Asked],
    whole: Sequence[float],
    histogram: Sequence[int],
    seed: int,
    told: Told,
) -> Ablated:
    """Ask about pairs without a part, or otherwise, fit a calibrator of its own and measure it beside the whole.

    Args:
        services: The store and the experts.
        name: The part.
        plain: Training pairs, of which the averages alone are known.
        before: Validation pairs, as the whole has them.
        after: Test pairs, as the whole has them.
        whole: What the whole's calibrated answers to these are.
        histogram: How often each value of the scale was given before the test, lowest first.
        seed: Seed of the bootstrap.
        told: Told of progress.

    Raises:
        StoreError: The store failed.
        EngineError: The model failed.
    """
    fitted, measured = (
        at_once(partial(_without, services, name), asked, f"{name.value} of {part} pairs", told)
        for part, asked in (("validation", before), ("test", after))
    )
    earlier = plain if AVERAGES in GROUPS_OF[name] else []
    seen = [asked.pair for asked in (*earlier, *before)]
    own = fit(
        [*(asked.known for asked in earlier), *fitted],
        [pair.rating for pair in seen],
        histogram,
        groups=GROUPS_OF[name],
        newest=len(before),
        owners=[pair.user_id for pair in seen],
    )
    answers = expectations(measured, own)
    real, users = [each.pair.rating for each in after], [each.pair.user_id for each in after]
    both = [row for row, asked in enumerate(after) if measured[row].heard and asked.known.heard]
    alone, whole_alone = (model_alone(at(each, both)) for each in (measured, [asked.known for asked in after]))
    return Ablated(
        readouts={
            **({"expectation": error(alone, at(real, both))} if both else {}),
            "calibrated": error(answers, real),
        },
        heard=len(both),
        model_difference=difference(alone, whole_alone, at(real, both), seed, at(users, both)) if both else None,
        difference=difference(answers, whole, real, seed, users),
        changed=sum(one != asked.known for one, asked in zip(measured, after, strict=True)),
    )


def _without(services: Services, name: Ablation, asked: Asked) -> Readout:
    """The reading of a pair without a part."""
    pair = asked.pair
    if name in PROFILES:
        settings = services.settings.model_copy(update={"item_profile": PROFILES[name]})
        return explain_fully(replace(services, settings=settings), pair.user_id, pair.item_id, as_of=pair.timestamp)[1]
    known = recalled(services, pair.user_id, pair.item_id, pair.timestamp)
    if name is Ablation.NO_AVERAGES:
        bare = History(user_id=known.user_id, item_id=known.item_id, before=known.before)
        # The averages have a say in how a reason opens: here it opens as its points alone have it. They may have chosen
        # the first of its points too, and what a taught Reasoner wrote freely, which is left.
        reason = reopened(asked.reason, stance(asked.known.balance or 0.0)) if asked.reason else None
        return readout(
            bare,
            general(services.store, pair.user_id, pair.item_id, pair.timestamp),
            asked.known.scale,
            heard(services, reason, dossier_of(services, bare, reason)),
            asked.known.balance,
        )
    text = _in_one_step(known, asked.known.scale) if name is Ablation.ONE_STEP else None
    # Asked for without a reason, the dossier has the reviews' words and no summaries, whatever stands for the reason.
    answered = heard(services, text, dossier_of(services, known, None))
    return asked.known.model_copy(update={"heard": answered, "balance": None})


def _in_one_step(known: History, scale: RatingScale) -> str:
    """The rated reviews of either side as they are, where a reason stands otherwise."""

    def said(review: Review) -> str:
        label = scale.labels[scale.values.index(scale.nearest(review.rating))]
        return f"gave {label} and wrote “{one_line(f'{review.title} {review.text}', QUOTED)}”"

    of_user = [f"Elsewhere the user {said(review)}." for review in known.user_reviews[:READ]]
    of_item = [f"Of this somebody {said(review)}." for review in known.item_reviews[:READ]]
    return " ".join([*of_user, *of_item])
