"""`whylike evaluate ratings`: how near the ratings come on the newest reviews, beside what they have to beat.

The calibrator is fitted on what is earlier than the newest tenth and measured on that: the weights of the averages on
all of it, whatever the model says and the interval on the validation tenth. Every pair is asked about as of just
before its review, through the same graph that serves.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

from pydantic import Field

from whylike.agents.calibration import Calibrator
from whylike.dates import day
from whylike.errors import UsageError
from whylike.evaluation import baselines
from whylike.evaluation.ablating import Ablated, ablate
from whylike.evaluation.ablation import Ablation
from whylike.evaluation.asking import at_once, expectations, explained, in_turn, unexplained
from whylike.evaluation.calibrating import FEWEST, fit
from whylike.evaluation.figures import Figures, counted, figures, sliced
from whylike.evaluation.machine import EngineSettings, Machine, engine_settings, machine
from whylike.graph.lately import Lately
from whylike.graph.pair import Services
from whylike.memory.splits import Pair, Split, sample, split
from whylike.preparing import Told

TRAINED = 4000
"""Most training pairs on which the weights of the averages are fitted too; the model is not asked about them."""


class RatingsEvaluation(Figures):
    """The document that `whylike evaluate ratings --json` prints."""

    machine: Machine
    settings: EngineSettings
    seed: int
    parts: dict[str, int] = Field(description="Reviews of each part of the split")
    validation_pairs: int
    with_reason: bool
    reasons: int = Field(description="Test pairs that got a reason")
    matrix_factorisation: dict[str, float] = Field(description="Its settings, chosen on the validation pairs")
    calibrator: Calibrator
    kept: bool = Field(description="Whether the calibrator stays in the store, for `whylike explain`")
    ablations: dict[str, Ablated]
    notes: list[str]
    seconds_per_pair: float = Field(description="Of the test pairs; what the store had kept was not worked out again")


def evaluate(
    services: Services,
    *,
    limit: int,
    validation: int,
    seed: int = 0,
    with_reason: bool = True,
    ablations: Sequence[Ablation] = (),
    keep: bool = False,
    told: Told = lambda *_: None,
) -> RatingsEvaluation:
    """Fit a calibrator on validation pairs of the store and measure it on test pairs.

    Args:
        services: The store and the experts. What is worked out stays in the store.
        limit: Most test pairs; a sample of the newest tenth.
        validation: Most validation pairs; a sample of the tenth before it.
        seed: Seed of the samples and of the bootstrap.
        with_reason: Whether the pairs are explained; otherwise only the averages speak, without the model.
        ablations: What to measure besides, each with a calibrator of its own.
        keep: Whether to keep the calibrator in the store, so that explanations by the adapters that were live at the
            beginning use it.
        told: Told of progress.

    Raises:
        UsageError: The store has too few reviews.
        StoreError: The store failed.
        EngineError: The model failed.
    """
    with services.query():  # what is promoted meanwhile is not measured
        store = services.store
        parts = split(store)
        fitted, measured = (
            sample(pairs, most, seed) for pairs, most in ((parts.validation, validation), (parts.test, limit))
        )
        if len(fitted) < FEWEST:
            raise UsageError(
                f"there are {len(fitted)} validation pairs, of {len(parts.validation)} reviews in the tenth before the "
                f"newest, and a calibrator needs {FEWEST}; "
                + ("give a larger --validation" if len(parts.validation) >= FEWEST else "ingest more reviews")
            )
        ran_on = machine()
        look_up = partial(unexplained, services)
        plain = in_turn(look_up, sample(parts.training, TRAINED, seed), "looking up training pairs", told)
        ask = partial(at_once, partial(explained, services)) if with_reason else partial(in_turn, look_up)
        before = ask(fitted, "asking about validation pairs", told)
        began = time.perf_counter()
        after = ask(measured, "asking about test pairs", told)
        seconds = (time.perf_counter() - began) / len(measured)
        histogram = counted([pair.rating for pair in parts.earlier], store.scale)
        real = [pair.rating for pair in measured]
        seen = [*plain, *before]
        calibrator = fit(
            [each.known for each in seen],
            [each.pair.rating for each in seen],
            histogram,
            predictor=services.mark,
            newest=len(before),
            owners=[each.pair.user_id for each in seen],
        )
        if keep:
            store.keep_calibration(calibrator.predictor, calibrator.model_dump_json())
        factorised = baselines.factorise(store, parts, fitted, measured, told)
        known = [each.known for each in after]
        others = {
            **baselines.of_readouts(known),
            "matrix_factorisation": factorised.folded,
            "matrix_factorisation_trained": factorised.trained,
        }
        lately = Lately(store, services.settings.history, calibrator)
        follow = partial(_followed, lately)
        given_before = Counter(pair.user_id for pair in parts.earlier)
        users = [pair.user_id for pair in measured]
        found = figures(
            known,
            real,
            in_turn(follow, measured, "following the newest ratings", told),
            others,
            users=users,
            slices=sliced([given_before[user] for user in users]),
            seed=seed,
        )
        whole = expectations(known, calibrator)
        ablated = {
            name.value: ablate(
                services,
                name,
                plain=plain,
                before=before,
                after=after,
                whole=whole,
                histogram=histogram,
                seed=seed,
                told=told,
            )
            for name in ablations
        }
        return RatingsEvaluation(
            **dict(found),
            machine=ran_on,
            settings=engine_settings(services.settings, services.engine),
            seed=seed,
            parts={name: len(part) for name, part in parts._asdict().items()},
            validation_pairs=len(fitted),
            with_reason=with_reason,
            reasons=sum(each.reason is not None for each in after),
            matrix_factorisation={"features": factorised.features, "regularisation": factorised.regularisation},
            calibrator=calibrator,
            kept=keep,
            ablations=ablated,
            notes=_notes(services, parts) if with_reason or ablations else [],
            seconds_per_pair=round(seconds, 3),
        )


def _notes(services: Services, parts: Split) -> list[str]:
    """What a reader of the figures has to know."""
    first, found = parts.validation[0].timestamp, []
    # A Reasoner whose card is silent learned from what teachers told, or from older pairs (`teach.examples_for`).
    unsaid = "does not say up to when it learned from reviews"
    for expert, silent in ((services.predictor, unsaid), (services.reasoner, "")):
        version = expert.version
        until = services.registry.learned_until(version)
        learned = silent if until is None else f"learned from reviews up to {day(until)}"
        if expert.taught and learned and (until is None or until >= first):
            found.append(
                f"{version} {learned}, and the pairs that it is calibrated and measured with begin on {day(first)}: "
                "if it was taught on these reviews, it may have learned some of the pairs. Train one on this store as "
                "it is now."
            )
    return found


def _followed(lately: Lately, pair: Pair) -> Calibrator:
    return lately.as_of(pair.user_id, pair.item_id, pair.timestamp)
