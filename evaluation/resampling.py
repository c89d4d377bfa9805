"""Intervals and chances by resampling: the bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whylike.records import Record

RESAMPLES = 2000
COVERED = 0.95
"""Share of the resamples within an interval."""

Rows = NDArray[np.intp]


class Estimate(Record):
    """A figure and its bootstrap interval."""

    value: float
    low: float = Field(description="Lower end of the 95% interval")
    high: float


def estimate(count: int, statistic: Callable[[Rows], float], seed: int, resamples: int = RESAMPLES) -> Estimate:
    """A statistic of `count` rows, at least one, with the percentile interval of a bootstrap.

    Args:
        count: How many rows there are.
        statistic: Of the rows with these numbers, among which some may come several times.
        seed: Seed of the resampling.
        resamples: How many.
    """
    rng = np.random.default_rng(seed)
    spread = [statistic(rng.integers(0, count, count)) for _ in range(resamples)]
    low, high = np.quantile(spread, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    value = statistic(np.arange(count))
    return Estimate(value=round(value, 4), low=round(float(low), 4), high=round(float(high), 4))
