"""How near answers come to the ratings that were given, whatever the pairs are from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whylike.agents.calibration import Calibrator, Readout
from whylike.agents.distributions import mode
from whylike.agents.predictor import TRUST
from whylike.evaluation.asking import at, raw
from whylike.evaluation.distributions import Bin, Coverage, Sharpness, coverage, reliability, sharpness
from whylike.evaluation.metrics import Difference, Error, difference, error
from whylike.records import RatingScale, Record

LENGTHS = (0, 1, 2, 4, 8, 16, 32)
"""Where the bins of users' counts begin."""
COLD = 3
"""Reviews before the test of a user who counts as cold, at most."""


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
    shares: dict[str, NDArray[np.float64]] = {}
    readouts: dict[str, list[float]] = {}
    if heard:
        shares["raw"] = np.array([raw(each) for each in known])
        shares["moved_averages"] = np.array([each.spoken(TRUST) for each in known])
        readouts["expectation"] = list(shares["raw"] @ values)
        readouts["mode"] = [mode(values, each) for each in shares["raw"]]
        readouts["moved_averages"] = list(shares["moved_averages"] @ values)
    shares["calibrated"] = np.array([own.distribution(each) for own, each in zip(calibrators, known, strict=True)])
    readouts |= {
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
                readouts={each: error(at(foretold, rows), at(real, rows)) for each, foretold in readouts.items()},
                baselines={each: error(at(foretold, rows), at(real, rows)) for each, foretold in others.items()},
                difference=difference(
                    at(readouts["calibrated"], rows),
                    at(others["bias"], rows),
                    at(real, rows),
                    seed,
                    at(users, rows),
                ),
                covered=coverage(at(intervals, rows), at(real, rows), claimed).covered,
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
                    "bias": error(at(others["bias"], rows), at(real, rows)).rmse,
                    "calibrated": error(at(readouts["calibrated"], rows), at(real, rows)).rmse,
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
