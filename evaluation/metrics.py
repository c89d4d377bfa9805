"""How far predicted ratings are from the real ones, and whether one prediction is better by more than chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from whylike.evaluation.resampling import estimate
from whylike.records import Record

RESAMPLES = 1000
"""Resamples of a bootstrap."""
FEW = 5
"""Users from which a bootstrap that draws them says how far a difference may be chance."""


class Error(Record):
    """How far predictions are off, in units of the rating scale."""

    rmse: float
    mae: float


class Difference(Record):
    """One prediction's RMSE less another's on the same pairs: below 0 the first is better."""

    rmse: float
    low: float | None = Field(
        description=f"Lower end of the 95% interval of a paired bootstrap; None for the pairs of fewer than {FEW} users"
    )
    high: float | None

    def between(self, digits: int) -> str:
        """The interval, for people."""
        if self.low is None or self.high is None:
            return "too few users"
        return f"{self.low:+.{digits}f} to {self.high:+.{digits}f}"


def error(predicted: Sequence[float], real: Sequence[float]) -> Error:
    """RMSE and MAE of predicted ratings against the real ones, pair by pair; at least one."""
    off = _off(predicted, real)
    return Error(rmse=round(float(_rmse(off)), 4), mae=round(float(np.abs(off).mean()), 4))


def difference(
    first: Sequence[float],
    second: Sequence[float],
    real: Sequence[float],
    seed: int,
    users: Sequence[str] | None = None,
) -> Difference:
    """How much the first prediction's RMSE is above the second's, with a paired bootstrap's percentile interval.

    Args:
        first: Predicted ratings `[n]`, n at least 1.
        second: Those of the prediction to compare with `[n]`.
        real: The ratings that were given `[n]`.
        seed: Seed of the resampling.
        users: Whose ratings they are `[n]`: all of one user's are drawn together. None where each stands for itself.
    """
    ours, theirs = _off(first, real), _off(second, real)
    found = estimate(len(ours), lambda rows: float(_rmse(ours[rows]) - _rmse(theirs[rows])), seed, RESAMPLES, users)
    few = len(ours if users is None else set(users)) < FEW
    return Difference(rmse=found.value, low=None if few else found.low, high=None if few else found.high)


def _off(predicted: ArrayLike, real: ArrayLike) -> NDArray[np.float64]:
    off: NDArray[np.float64] = np.asarray(predicted, dtype=np.float64) - np.asarray(real, dtype=np.float64)
    return off


def _rmse(off: NDArray[np.float64]) -> np.float64:
    return np.float64(np.sqrt(np.mean(off**2)))
