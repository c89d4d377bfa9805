"""Fits a calibrator (`agents.calibration`) on pairs before the test, and finds out what each group of features adds.

The averages are always in: without anything else the calibrator is a bias model whose weights were learned. A further
group is taken only where it lowers the cross-validated error by more than two standard errors, so that a model that
adds nothing is left out, and the comparison says so. The interval is as wide as would have held pairs that neither the
mean nor the interval's shape was fitted on (cross-conformal, Vovk 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whylike.agents.calibration import FARTHEST, GROUPS, USUAL, Calibrator, Nested, Readout, Term, based, quantile
from whylike.agents.distributions import COVERED, Floats, log, tilts

FEWEST = 10
"""Pairs at least."""
SURE = 2.0
"""Standard errors by which a further group has to lower the cross-validated error: with one, every sixth that is of no
use would be taken. (It was one until a model that was taken so did harm on the test of Digital Music.)"""
FOLDS = 10
ROUNDS = 3
"""Times that the pairs are dealt into folds anew."""
PENALTIES = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Ridge penalties on the weights of standardised features, in pairs."""
INTERCEPT_PENALTY = 30.0
"""Pairs without any error that stand beside the real ones when the intercept is fitted."""
SMOOTHING = 5.0
"""Ratings that stand beside the real ones at each value of the histogram."""
SHARPNESS = (0.0, 0.5, 1.0)
"""Powers of the histogram that are tried."""
SHAPED = 5
"""Parts of the pairs, each of which is measured by intervals that the others shaped."""
UPPER_SHARES = (0.0, 0.125, 0.25, 0.375, 0.5)
"""Shares of the ratings outside the interval that may be above it."""
SEED = 0


class _Table(NamedTuple):
    """Features of pairs `[pairs, names]`, NaN where not known; what is foretold without them, and what was given."""

    names: tuple[str, ...]
    matrix: Floats
    start: Floats
    given: Floats
    owner: NDArray[np.intp]
    """The number of whose each pair is."""

    def of(self, groups: Sequence[str]) -> _Table:
        """With the features of these groups only."""
        kept = [name in {one for group in groups for one in GROUPS[group]} for name in self.names]
        names = tuple(name for name, keep in zip(self.names, kept, strict=True) if keep)
        return self._replace(names=names, matrix=self.matrix[:, kept])

    def rows(self, which: NDArray[np.bool_]) -> _Table:
        """Some of the pairs."""
        return _Table(self.names, self.matrix[which], self.start[which], self.given[which], self.owner[which])


def fit(
    readouts: Sequence[Readout],
    real: Sequence[float],
    histogram: Sequence[int],
    *,
    predictor: str = "",
    groups: Sequence[str] = USUAL,
    covered: float = COVERED,
    newest: int | None = None,
    owners: Sequence[str] | None = None,
) -> Calibrator:
    """Fit a calibrator.

    Args:
        readouts: What is known of each pair as of its own time, oldest first; at least `FEWEST`. What is not known of
            some of them, such as what the model says, is fitted on the others.
        real: The ratings that were given.
        histogram: How often each value of the scale was given before, lowest first.
        predictor: What it belongs to (`Services.mark`).
        groups: Groups of features that may be used; the first is.
        covered: Share of the ratings that its interval shall cover.
        newest: The last so many pairs settle the distribution's sharpness and the interval; without it all do.
        owners: Whose each pair is; cross-validation leaves out all of somebody's at once where there are enough.
    """
    scale = readouts[0].scale
    span = scale.maximum - scale.minimum
    start = np.array([(each.bias - scale.minimum) / span for each in readouts])
    given = (np.asarray(real, dtype=np.float64) - scale.minimum) / span
    known = [each.features for each in readouts]
    names = tuple(name for group in groups for name in GROUPS[group] if any(name in each for each in known))
    matrix = np.array([[each.get(name, np.nan) for name in names] for each in known]).reshape(len(known), len(names))
    owner = np.arange(len(given))
    if owners is not None and len(set(owners)) >= FOLDS:
        owner = np.unique(np.array(owners), return_inverse=True)[1]
    table = _Table(names, matrix, start, given, owner)
    chosen, penalty, foretold, tried = _choose(table, groups, span)
    intercept, terms = _ridge(table.of(chosen), penalty)
    counts = np.array(histogram, dtype=np.float64) + SMOOTHING
    shares = tuple((counts / counts.sum()).tolist())
    first = 0 if newest is None else len(given) - newest
    whose = np.unique(table.owner[first:], return_inverse=True)[1]
    if np.bincount(whose).max() > len(whose) / SHAPED:  # without these few pairs would be left to shape intervals
        whose = np.arange(len(whose))
    around = _Around(shares, foretold[first:], given[first:], whose)
    sharpness, lower, upper = around.shape(covered)
    stretch = quantile(around.distances(covered), covered)
    return Calibrator(
        predictor=predictor,
        groups=chosen,
        intercept=intercept,
        terms=terms,
        histogram=shares,
        sharpness=sharpness,
        lower=lower * stretch,
        upper=upper * stretch,
        covered=covered,
        pairs=len(readouts),
        tried=tried,
    )


def _choose(
    table: _Table, groups: Sequence[str], span: float
) -> tuple[tuple[str, ...], float, Floats, tuple[Nested, ...]]:
    """The groups, the penalty, what cross-validation foretold with them, and all that was tried."""
    chosen: tuple[str, ...] = ()
    penalty, foretold = 0.0, table.start
    off = (table.start - table.given) * span
    tried = [_nested(chosen, penalty, off, np.zeros(len(off)), table.owner)]
    for group in groups:
        if not set(GROUPS[group]) & set(table.names):
            continue
        wanted = (*chosen, group)
        outcomes = zip(_crossed(table.of(wanted)), PENALTIES, strict=True)
        crossed, best = min(outcomes, key=lambda outcome: float(((outcome[0] - table.given) ** 2).mean()))
        off = (crossed - table.given) * span
        said = np.isfinite(table.of((group,)).matrix).any(axis=1)
        gains = off**2 - ((foretold - table.given) * span) ** 2
        nested = _nested(wanted, best, off, gains[said], table.owner[said])
        tried.append(nested)
        several = len(np.unique(table.owner[said])) >= FOLDS  # of fewer the error says nothing
        if group == groups[0] or (several and nested.gain < -SURE * nested.error):
            chosen, penalty, foretold = wanted, best, crossed
    return chosen, penalty, foretold, tuple(tried)


def _nested(groups: tuple[str, ...], penalty: float, off: Floats, gains: Floats, owner: NDArray[np.intp]) -> Nested:
    """What came of some groups: how far off all pairs are, and what the last group gains on those that it knows."""
    of_each = np.bincount(owner, weights=gains - gains.mean())
    owners = len(np.unique(owner))
    return Nested(
        groups=groups,
        penalty=penalty,
        rmse=round(float(np.sqrt((off**2).mean())), 4),
        pairs=len(gains),
        gain=round(float(gains.mean()), 6),
        error=round(float(np.sqrt((of_each**2).sum() * owners / max(owners - 1, 1)) / len(gains)), 6),
    )


def _crossed(table: _Table) -> Floats:
    """What models that were fitted without a pair foretell for it, the mean of some rounds: `[penalties, pairs]`."""
    chance = np.random.default_rng(SEED)
    left = table.given - table.start
    total = np.zeros((len(PENALTIES), len(left)))
    for _ in range(ROUNDS):
        fold = (chance.permutation(table.owner.max() + 1) % FOLDS)[table.owner]
        for number in range(FOLDS):
            out = fold == number
            standard = _Standard.of(table.matrix[~out])
            weights = _weights(standard.applied(table.matrix[~out]), left[~out], PENALTIES)
            total[:, out] += _intercept(left[~out]) + weights @ standard.applied(table.matrix[out]).T
    return np.asarray(np.clip(table.start + total / ROUNDS, 0.0, 1.0))


def _ridge(table: _Table, penalty: float) -> tuple[float, dict[str, Term]]:
    """The intercept and the weights of standardised features."""
    left = table.given - table.start
    standard = _Standard.of(table.matrix)
    (weights,) = _weights(standard.applied(table.matrix), left, (penalty,))
    terms = {
        name: Term(mean=float(mean), deviation=float(deviation), weight=float(weight))
        for name, mean, deviation, weight in zip(table.names, standard.means, standard.deviations, weights, strict=True)
    }
    return _intercept(left), terms


class _Standard(NamedTuple):
    """By what features are standardised; one that is not known stands at its mean."""

    means: Floats
    deviations: Floats

    @classmethod
    def of(cls, matrix: Floats) -> _Standard:
        counted = np.isfinite(matrix)
        known = np.maximum(counted.sum(axis=0), 1)
        means = np.where(counted, matrix, 0.0).sum(axis=0) / known
        off = np.where(counted, matrix - means, 0.0)
        return cls(means, np.maximum(np.sqrt((off**2).sum(axis=0) / known), 1e-6))

    def applied(self, matrix: Floats) -> Floats:
        off = np.clip((matrix - self.means) / self.deviations, -FARTHEST, FARTHEST)
        return np.where(np.isfinite(matrix), off, 0.0)


def _weights(standard: Floats, left: Floats, penalties: Sequence[float]) -> Floats:
    """The weights of standardised features under each ridge penalty, `[penalties, features]`."""
    values, directions = np.linalg.eigh(standard.T @ standard)
    seen = directions.T @ (standard.T @ (left - left.mean()))
    return np.asarray((seen / (values + np.array(penalties)[:, None])) @ directions.T)


def _intercept(left: Floats) -> float:
    return float(left.sum() / (len(left) + INTERCEPT_PENALTY))


class _Around(NamedTuple):
    """Pairs by whose ratings it is settled what stands around the mean."""

    histogram: tuple[float, ...]
    foretold: Floats
    """Means that cross-validation foretold, in shares of the scale."""
    given: Floats
    owner: NDArray[np.intp]

    def shape(self, covered: float) -> tuple[float, float, float]:
        """The histogram's power, and how many standard deviations the interval's ends are below and above the mean.

        The power is the one whose distributions find the ratings likeliest. Ratings pile up at one end of the scale, so
        the ends differ: of the ways to share out what is not covered, the one with the narrowest intervals is taken.
        """
        levels = len(self.histogram)
        steps = np.rint(self.given * (levels - 1)).astype(int)

        def surprise(power: float) -> float:
            shares = self._shares(power)
            return -float(log(shares[np.arange(len(steps)), steps]).mean())

        power = min(SHARPNESS, key=surprise)
        means, deviations = self._moments(power)
        below, above = (means - self.given) / deviations, (self.given - means) / deviations
        best = (np.inf, 0.0, 0.0)
        for share in UPPER_SHARES:
            missed = 1 - covered
            low = max(quantile(below, 1 - missed * (1 - share)), 1e-3)
            high = max(quantile(above, 1 - missed * share), 1e-3)
            stretch = quantile(np.maximum(below / low, above / high), covered)
            low, high = low * stretch, high * stretch
            width = float((np.minimum(means + high * deviations, 1) - np.maximum(means - low * deviations, 0)).mean())
            best = min(best, (width, low, high))
        return power, best[1], best[2]

    def distances(self, covered: float) -> Floats:
        """How far out of intervals that others of these pairs shaped each rating is: 1 is an interval's end.

        None of a user's pairs shapes the intervals for another one of them, so the distances are about those of new
        pairs, though the shape was chosen among several.
        """
        found = np.empty(len(self.given))
        fold = (np.random.default_rng(SEED).permutation(self.owner.max() + 1) % SHAPED)[self.owner]
        for number in np.unique(fold):
            out = fold == number
            power, low, high = self._rows(~out).shape(covered)
            means, deviations = self._rows(out)._moments(power)
            off = (self.given[out] - means) / deviations
            found[out] = np.maximum(off / high, -off / low)
        return found

    def _rows(self, which: NDArray[np.bool_]) -> _Around:
        return _Around(self.histogram, self.foretold[which], self.given[which], self.owner[which])

    def _shares(self, power: float) -> Floats:
        levels = len(self.histogram)
        return tilts(levels, self.foretold, based(self.histogram, power, levels))

    def _moments(self, power: float) -> tuple[Floats, Floats]:
        """Means and standard deviations of the distributions."""
        shares = self._shares(power)
        at = np.linspace(0.0, 1.0, shares.shape[1])
        means = shares @ at
        return means, np.sqrt((shares * (at - means[:, None]) ** 2).sum(axis=1))
