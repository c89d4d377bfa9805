"""How good predicted distributions and intervals are, beyond how near their means come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from whylike.records import Record

BINS = 10
"""Bins of predicted probability."""


class Bin(Record):
    """Values that were given about the same probability."""

    predicted: float = Field(description="Mean probability that the values were given")
    observed: float = Field(description="Share of them that came true")
    count: int


class Sharpness(Record):
    """How good distributions over the scale are."""

    nll: float = Field(description="Mean negative logarithm of the probability of the rating that was given")
    calibration_error: float = Field(
        description="Mean gap between the probability that a value is given and how often it comes true"
    )


class Coverage(Record):
    """How often intervals hold the rating, and how wide they are, in units of the scale."""

    claimed: float
    covered: float
    width: float


def sharpness(shares: ArrayLike, steps: Sequence[int]) -> Sharpness:
    """Figures of predicted distributions.

    Args:
        shares: Predicted shares `[n, values]`, each row summing to 1; n at least 1.
        steps: Which value was given `[n]`, 0 the lowest.
    """
    matrix = np.asarray(shares, dtype=np.float64)
    given = matrix[np.arange(len(matrix)), np.asarray(steps)]
    gaps = [abs(each.predicted - each.observed) * each.count for each in reliability(matrix, steps)]
    return Sharpness(
        nll=round(float(-np.log(np.maximum(given, 1e-9)).mean()), 4),
        calibration_error=round(sum(gaps) / matrix.size, 4),
    )


def reliability(shares: ArrayLike, steps: Sequence[int]) -> list[Bin]:
    """The probabilities of all values of all pairs in bins, beside how often they came true; no bin is empty."""
    matrix = np.asarray(shares, dtype=np.float64)
    true: NDArray[np.float64] = np.zeros_like(matrix)
    true[np.arange(len(matrix)), np.asarray(steps)] = 1
    flat, hits = matrix.ravel(), true.ravel()
    places = np.minimum((flat * BINS).astype(int), BINS - 1)
    return [
        Bin(predicted=float(flat[here].mean()), observed=float(hits[here].mean()), count=int(here.sum()))
        for place in range(BINS)
        if (here := places == place).any()
    ]


def coverage(intervals: Sequence[Sequence[float]], real: Sequence[float], claimed: float) -> Coverage:
    """How often intervals `[n][2]` hold the ratings `[n]`, their ends included; n at least 1."""
    ends, given = np.asarray(intervals, dtype=np.float64), np.asarray(real, dtype=np.float64)
    held = (ends[:, 0] - 1e-9 <= given) & (given <= ends[:, 1] + 1e-9)
    return Coverage(
        claimed=claimed, covered=round(float(held.mean()), 4), width=round(float((ends[:, 1] - ends[:, 0]).mean()), 4)
    )
