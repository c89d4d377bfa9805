"""`whylike evaluate ratings`: how near the ratings come on the newest reviews, beside what they have to beat.

The calibrator is fitted on what is earlier than the newest tenth and measured on that: the weights of the averages on
all of it, whatever the model says and the interval on the validation tenth. Every pair is asked about as of just
before its review, through the same graph that serves.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import Field

from whylike.agents.calibration import AVERAGES, MODEL, USUAL, Calibrator, Readout, readout
from whylike.agents.distributions import Floats, mode
from whylike.agents.predictor import TRUST
from whylike.agents.prompting import one_line
from whylike.errors import UsageError
from whylike.evaluation import baselines
from whylike.evaluation.ablation import Ablation
from whylike.evaluation.calibrating import FEWEST, fit
from whylike.evaluation.distributions import Bin, Coverage, Sharpness, coverage, reliability, sharpness
from whylike.evaluation.machine import EngineSettings, Machine, engine_settings, machine
from whylike.evaluation.metrics import Difference, Error, difference, error
from whylike.evaluation.splits import Pair, Split, sample, split
from whylike.graph import lessons
from whylike.graph.lately import Lately
from whylike.graph.nodes import heard
from whylike.graph.pair import Services, explain_fully
from whylike.graph.sides import dossier_of, recalled
from whylike.memory.history import general, history
from whylike.preparing import Told
from whylike.records import History, ItemProfile, RatingScale, Record, Review

Q = TypeVar("Q")
A = TypeVar("A")

LENGTHS = (0, 1, 2, 4, 8, 16, 32)
"""Where the bins of users' counts begin."""
COLD = 3
"""Reviews before the test of a user who counts as cold, at most."""
QUOTED = 30
"""Words of each review that the one step reads."""
TRAINED = 4000
"""Most training pairs on which the weights of the averages are fitted too; the model is not asked about them."""
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


class Asked(NamedTuple):
    """A pair, the reading of it, and the reason that it was read with."""

    pair: Pair
    known: Readout
    reason: str | None


class Slice(Record):
    """Some of the test pairs."""

    pairs: int
    readouts: dict[str, Error]
    baselines: dict[str, Error]
    difference: Difference = Field(description="RMSE of the calibrated answer less that of the damped bias")
    covered: float


class HistoryBin(Record):
    """Test pairs whose users had given about as many ratings before."""

    label: str
    pairs: int
    rmse: dict[str, float]


class Ablated(Record):
    """What is left without a part, with a calibrator of its own."""

    readouts: dict[str, Error]
    heard: int = Field(description="Test pairs on which the model was heard, with the part and without")
    model_difference: Difference | None = Field(
        description="On these: RMSE of what the model alone says less that of the whole's; None where there are none"
    )
    difference: Difference = Field(description="RMSE of its calibrated answer less that of the whole")
    changed: int = Field(description="Test pairs whose rating is made from something else than in the whole")


class Figures(Record):
    """How near the answers come; the part of the document that does not depend on where the pairs are from."""

    pairs: int
    heard: int = Field(description="Pairs on which the model was heard; on the others the averages stand in its place")
    readouts: dict[str, Error] = Field(description="What the model alone says is not among them where it was not heard")
    baselines: dict[str, Error]
    differences: dict[str, Difference] = Field(description="`A-B`: RMSE of A less that of B on the same pairs")
    distributions: dict[str, Sharpness]
    interval: Coverage
    slices: dict[str, Slice] = Field(description="By how many ratings the user had given before the test")
    reliability: list[Bin]
    by_history: list[HistoryBin] = Field(description="By how many ratings the user had given before")


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
        ask = partial(_explained if with_reason else _unexplained, services)
        plain = at_once(
            partial(_unexplained, services), sample(parts.training, TRAINED, seed), "looking up training pairs", told
        )
        before = at_once(ask, fitted, "asking about validation pairs", told)
        began = time.perf_counter()
        after = at_once(ask, measured, "asking about test pairs", told)
        seconds = (time.perf_counter() - began) / len(measured)
        histogram = counted([pair.rating for pair in parts.earlier], store.scale)
        real = [pair.rating for pair in measured]
        given = [pair.rating for pair in fitted]
        trained, rated = [each.known for each in plain], [each.pair.rating for each in plain]
        calibrator = fit(
            trained + [each.known for each in before],
            rated + given,
            histogram,
            predictor=services.mark,
            newest=len(before),
            owners=[each.pair.user_id for each in (*plain, *before)],
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
            at_once(follow, measured, "following the newest ratings", told),
            others,
            users=users,
            slices=sliced([given_before[user] for user in users]),
            seed=seed,
        )
        whole = _expectations(known, calibrator)
        ablated: dict[str, Ablated] = {}
        for name in ablations:
            one, other = (
                at_once(partial(_ablated, services, name), asked, f"{name.value} of {part} pairs", told)
                for part, asked in (("validation", before), ("test", after))
            )
            earlier, of_earlier = (trained, rated) if AVERAGES in GROUPS_OF[name] else ([], [])
            own = fit(
                earlier + one,
                of_earlier + given,
                histogram,
                groups=GROUPS_OF[name],
                newest=len(one),
                owners=[each.pair.user_id for each in (*(plain if earlier else []), *before)],
            )
            answers = _expectations(other, own)
            both = [row for row, (one, two) in enumerate(zip(other, known, strict=True)) if one.heard and two.heard]
            raw, raw_whole = (_expected(_at(each, both)) for each in (other, known))
            ablated[name] = Ablated(
                readouts={
                    **({"expectation": error(raw, _at(real, both))} if both else {}),
                    "calibrated": error(answers, real),
                },
                heard=len(both),
                model_difference=difference(raw, raw_whole, _at(real, both), seed, _at(users, both)) if both else None,
                difference=difference(answers, whole, real, seed, users),
                changed=sum(each != own for each, own in zip(other, known, strict=True)),
            )
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
            notes=_notes(services, parts),
            seconds_per_pair=round(seconds, 3),
        )


def figures(
    known: Sequence[Readout],
    real: Sequence[float],
    calibrators: Sequence[Calibrator],
    others: dict[str, list[float]],
    *,
    users: Sequence[str],
    slices: Mapping[str, list[int]],
    seed: int,
) -> Figures:
    """The figures of some pairs, at least one.

    Args:
        known: What the ratings are made from.
        real: The ratings that were given.
        calibrators: What calibrates each.
        others: What the baselines foretell, by name.
        users: Whose the pairs are.
        slices: Positions of pairs to be looked at by themselves, by name.
        seed: Seed of the bootstrap.
    """
    scale = known[0].scale
    values = np.array(scale.values)
    heard = sum(each.heard is not None for each in known)
    shares = {
        **({"raw": np.array([_raw(each) for each in known])} if heard else {}),
        "moved_averages": np.array([each.spoken(TRUST) for each in known]),
        "calibrated": np.array([own.distribution(each) for own, each in zip(calibrators, known, strict=True)]),
    }
    readouts: dict[str, list[float]] = {}
    if heard:
        readouts = {
            "expectation": list(shares["raw"] @ values),
            "mode": [mode(values, each) for each in shares["raw"]],
        }
    readouts |= {
        "moved_averages": list(shares["moved_averages"] @ values),
        "calibrated": list(shares["calibrated"] @ values),
        "calibrated_mode": [mode(values, each) for each in shares["calibrated"]],
    }
    intervals = [own.interval(scale, each) for own, each in zip(calibrators, shares["calibrated"], strict=True)]
    claimed = calibrators[0].covered
    steps = [scale.values.index(scale.nearest(rating)) for rating in real]
    return Figures(
        pairs=len(real),
        heard=heard,
        readouts={name: error(foretold, real) for name, foretold in readouts.items()},
        baselines={name: error(foretold, real) for name, foretold in others.items()},
        differences={
            f"{name}-{other}": difference(foretold, against, real, seed, users)
            for name, foretold in readouts.items()
            if name in {"expectation", "calibrated"}
            for other, against in others.items()
        },
        distributions={name: sharpness(each, steps) for name, each in shares.items()},
        interval=coverage(intervals, real, claimed),
        slices={
            name: Slice(
                pairs=len(rows),
                readouts={each: error(_at(foretold, rows), _at(real, rows)) for each, foretold in readouts.items()},
                baselines={each: error(_at(foretold, rows), _at(real, rows)) for each, foretold in others.items()},
                difference=difference(
                    _at(readouts["calibrated"], rows),
                    _at(others["bias"], rows),
                    _at(real, rows),
                    seed,
                    _at(users, rows),
                ),
                covered=coverage(_at(intervals, rows), _at(real, rows), claimed).covered,
            )
            for name, rows in slices.items()
            if rows
        },
        reliability=reliability(shares["calibrated"], steps),
        by_history=[
            HistoryBin(
                label=label,
                pairs=len(rows),
                rmse={
                    "bias": error(_at(others["bias"], rows), _at(real, rows)).rmse,
                    "calibrated": error(_at(readouts["calibrated"], rows), _at(real, rows)).rmse,
                },
            )
            for label, rows in _by_history(known).items()
        ],
    )


def sliced(counts: Sequence[int]) -> dict[str, list[int]]:
    """Positions by how many ratings the user had given: warm, cold (at most `COLD`) and unseen (none)."""
    return {
        "warm": [row for row, count in enumerate(counts) if count > COLD],
        "cold": [row for row, count in enumerate(counts) if 0 < count <= COLD],
        "unseen": [row for row, count in enumerate(counts) if not count],
    }


def _by_history(known: Sequence[Readout]) -> dict[str, list[int]]:
    """Positions by the user's count of earlier ratings; no bin is empty."""
    bins: dict[str, list[int]] = {}
    for low, high in pairwise((*LENGTHS, math.inf)):
        label = f"{low}" if high == low + 1 else f"{low} to {high - 1}" if high < math.inf else f"{low} and more"
        bins[label] = [row for row, each in enumerate(known) if low <= each.user.count < high]
    return {label: rows for label, rows in bins.items() if rows}


def counted(ratings: Sequence[float], scale: RatingScale) -> list[int]:
    """How often each value of a scale is among ratings on it, lowest first."""
    counts = [0] * len(scale.values)
    for rating in ratings:
        counts[scale.values.index(scale.nearest(rating))] += 1
    return counts


def at_once(ask: Callable[[Q], A], asked: Sequence[Q], what: str, told: Told) -> list[A]:
    """The answers to some questions, in order; some are asked at once, so that the engine has batches."""
    answers: list[A] = []
    told(what, 0, len(asked))
    with closing(lessons.at_once(ask, asked)) as given:
        for answer in given:
            answers.append(answer)
            told(what, len(answers), len(asked))
    return answers


def _notes(services: Services, parts: Split) -> list[str]:
    """What a reader of the figures has to know."""
    version = services.predictor.version
    until, first = services.registry.learned_until(version), parts.validation[0].timestamp
    if until is None or until < first:
        return []
    days = [datetime.fromtimestamp(time, UTC).date().isoformat() for time in (until, first)]
    return [
        f"{version} learned from reviews up to {days[0]}, and the pairs that it is calibrated and measured with begin "
        f"on {days[1]}: it may have learned some of them. Train one on this store as it is now."
    ]


def _followed(lately: Lately, pair: Pair) -> Calibrator:
    return lately.as_of(pair.user_id, pair.item_id, pair.timestamp)


def _explained(services: Services, pair: Pair) -> Asked:
    answer, known = explain_fully(services, pair.user_id, pair.item_id, as_of=pair.timestamp)
    return Asked(pair, known, answer.reason.text if answer.reason else None)


def _unexplained(services: Services, pair: Pair) -> Asked:
    """What the averages alone say, as an explanation without a reason has it."""
    known = history(services.store, pair.user_id, pair.item_id, pair.timestamp, services.settings.history)
    everything = general(services.store, pair.user_id, pair.item_id, pair.timestamp)
    return Asked(pair, readout(known, everything, services.store.scale), None)


def _ablated(services: Services, name: Ablation, asked: Asked) -> Readout:
    """The reading of a pair without a part."""
    pair = asked.pair
    if name in PROFILES:
        settings = services.settings.model_copy(update={"item_profile": PROFILES[name]})
        return explain_fully(replace(services, settings=settings), pair.user_id, pair.item_id, as_of=pair.timestamp)[1]
    known = recalled(services, pair.user_id, pair.item_id, pair.timestamp)
    if name is Ablation.NO_AVERAGES:
        bare = History(user_id=known.user_id, item_id=known.item_id, before=known.before)
        return readout(
            bare,
            general(services.store, pair.user_id, pair.item_id, pair.timestamp),
            asked.known.scale,
            heard(services, asked.reason, dossier_of(services, bare, asked.reason)),
            asked.known.balance,
        )
    text = _at_once(known, asked.known.scale) if name is Ablation.ONE_STEP else None
    # Asked for without a reason, the dossier has the reviews' words and no summaries, whatever stands for the reason.
    answered = heard(services, text, dossier_of(services, known, None))
    return asked.known.model_copy(update={"heard": answered, "balance": None})


def _at_once(known: History, scale: RatingScale) -> str:
    """The rated reviews of either side as they are, where a reason stands otherwise."""

    def said(review: Review) -> str:
        label = scale.labels[scale.values.index(scale.nearest(review.rating))]
        return f"gave {label} and wrote “{one_line(f'{review.title} {review.text}', QUOTED)}”"

    of_user = [f"Elsewhere the user {said(review)}." for review in known.user_reviews[:READ]]
    of_item = [f"Of this somebody {said(review)}." for review in known.item_reviews[:READ]]
    return " ".join([*of_user, *of_item])


def _expectations(known: Sequence[Readout], calibrator: Calibrator) -> list[float]:
    return [float(calibrator.distribution(each) @ np.array(each.scale.values)) for each in known]


def _expected(known: Sequence[Readout]) -> list[float]:
    """The mean of what the model alone says of each pair."""
    return [float(_raw(each) @ np.array(each.scale.values)) for each in known]


def _raw(known: Readout) -> Floats:
    """What the model alone answers; where it was not asked, what the averages alone do."""
    return np.array(known.heard.probabilities) if known.heard else known.spoken(0.0)


def _at(values: Sequence[Q], rows: Sequence[int]) -> list[Q]:
    return [values[row] for row in rows]
