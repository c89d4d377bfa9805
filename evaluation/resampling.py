"""Intervals and chances by resampling: the bootstrap, pairs of strangers, and a permutation test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from scipy.stats import permutation_test, rankdata, spearmanr

from whylike.records import Record

RESAMPLES = 2000
PERMUTATIONS = 9999
COVERED = 0.95
"""Share of the resamples within an interval."""

Rows = NDArray[np.intp]


class Estimate(Record):
    """A figure and its bootstrap interval."""

    value: float
    low: float = Field(description="Lower end of the 95% interval")
    high: float


def estimate(
    count: int,
    statistic: Callable[[Rows], float],
    seed: int,
    resamples: int = RESAMPLES,
    groups: Sequence[str] | None = None,
) -> Estimate:
    """A statistic of `count` rows, at least one, with the percentile interval of a bootstrap.

    Args:
        count: How many rows there are.
        statistic: Of the rows with these numbers, among which some may come several times.
        seed: Seed of the resampling.
        resamples: How many.
        groups: Whose each row is: all rows of one are drawn together, as they are no independent ones.
    """
    rng = np.random.default_rng(seed)
    owner = np.arange(count) if groups is None else np.unique(np.array(groups), return_inverse=True)[1]
    together = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])

    def drawn() -> Rows:
        return np.concatenate([together[each] for each in rng.integers(0, len(together), len(together))])

    spread = [statistic(drawn()) for _ in range(resamples)]
    low, high = np.quantile(spread, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    value = statistic(np.arange(count))
    return Estimate(value=round(value, 4), low=round(float(low), 4), high=round(float(high), 4))


def strangers(keys: Sequence[Collection[str]], seed: int) -> dict[int, int]:
    """For each row another one that shares no key with it, each at most once; none where all are taken.

    Args:
        keys: Of each row, such as its user and its item.
        seed: Of the choice, which is at random.
    """
    shared = np.array([[not set(one).isdisjoint(other) for other in keys] for one in keys])
    if not shared.size:
        return {}
    chance = np.random.default_rng(seed).random(shared.shape)
    # One to one at the least cost, so that rows are matched with one that shares a key only where nothing else is left.
    rows, others = linear_sum_assignment(chance + len(keys) * shared)
    return {int(row): int(other) for row, other in zip(rows, others, strict=True) if not shared[row, other]}


def chance_of_more(differences: Sequence[float], seed: int) -> float:
    """How likely paired differences have a mean as high as this if each might as well be the other way round.

    An exact or random permutation test of the signs, one-sided; 1 for fewer than two differences.
    """
    if len(differences) < 2:  # noqa: PLR2004
        return 1.0
    found = permutation_test(
        (np.asarray(differences, dtype=np.float64),),
        lambda values, axis: np.mean(values, axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=PERMUTATIONS,
        batch=500,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's correlation; 0 where either is the same throughout or there are fewer than two."""
    if len(set(first)) < 2 or len(set(second)) < 2:  # noqa: PLR2004
        return 0.0
    return float(spearmanr(first, second).statistic)


def permuted(first: Sequence[float], second: Sequence[float], seed: int) -> tuple[float, float]:
    """Spearman's correlation, and how likely one as high is if what belongs together were drawn at random.

    0 and 1 where either is the same throughout, or there are fewer than two.
    """
    if not (found := rank_correlation(first, second)):
        return 0.0, 1.0
    ranks = rankdata(second) - (len(second) + 1) / 2
    test = permutation_test(
        (rankdata(first),),
        lambda values, axis: (values * ranks).sum(axis=axis),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=PERMUTATIONS,
        batch=500,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return found, float(test.pvalue)
