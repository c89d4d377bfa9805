"""What `whylike evaluate ratings` found, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from whylike.agents.calibration import AVERAGES, CURVES, EVIDENCE, GROUPS, MODEL, PROFILES, TEXTS, Calibrator
from whylike.evaluation.calibrating import SURE
from whylike.evaluation.distributions import Coverage, Sharpness
from whylike.evaluation.metrics import Difference, Error
from whylike.tables import figures, ran_on
from whylike.terminal import many, plain

if TYPE_CHECKING:
    from rich.table import Table

    from whylike.evaluation.exp3rt import Exp3rtEvaluation
    from whylike.evaluation.figures import Figures
    from whylike.evaluation.ratings import RatingsEvaluation

MAIN = ("bias", "matrix_factorisation")
"""The baselines that matter most."""
MEANT = {
    AVERAGES: "what the user and the item usually get",
    EVIDENCE: "how many ratings there are of either, how far apart they are, and the item's newest",
    CURVES: "squares of the averages, and their product",
    PROFILES: "how close the user's lists are to the item's",
    TEXTS: "where the lists stand among all",
    MODEL: "what the language model answered",
}
"""What the groups of features are, for readers."""


def ratings_card(found: RatingsEvaluation) -> RenderableType:
    """The tables of an evaluation."""
    reasons = f"{found.reasons:,} with a reason" if found.with_reason else "no reasons"
    said = [
        f"{found.validation_pairs:,} validation pairs, from the tenth before; {reasons}; "
        f"{found.seconds_per_pair:.2f} seconds a test pair, with what the store had kept",
        heard_line(found),
        *calibrator_lines(found.calibrator),
        *interval_lines(found.interval, found.distributions),
        *found.notes,
    ]
    if found.kept:
        said.append("The calibrator is kept in the store; whylike explain uses it from now on.")
    parts: list[RenderableType] = [
        main_table(found.readouts, found.baselines, found.pairs),
        differences_table({name: each for name, each in found.differences.items() if name.endswith(MAIN)}),
        slices_table(found),
        Text(plain("\n".join(said), lines=True)),
    ]
    if found.ablations:
        parts.insert(3, ablations_table(found))
    return Group(*parts, ran_on(found.machine, found.settings))


def exp3rt_card(found: Exp3rtEvaluation) -> RenderableType:
    """The tables of an evaluation on EXP3RT's pairs."""
    used = {group for groups in found.groups for group in groups}
    counts = ", ".join(f"{group} in {sum(group in each for each in found.groups)}" for group in GROUPS if group in used)
    said = [
        f"{found.users:,} users in {found.folds} folds; {found.seconds_per_pair:.2f} seconds a pair",
        heard_line(found),
        f"Of the {found.folds} calibrators use: {counts}.",
        *interval_lines(found.interval, found.distributions),
        *found.notes,
    ]
    if found.rejected:
        said.append(f"{many(found.rejected, 'row')} could not be read; whylike ingest of the file tells why.")
    table = main_table(found.readouts, found.baselines, found.pairs)
    for name, off in found.published.items():
        table.add_row(f"{name}, as published", *_figures(off))
    wanted = ("-bias", "-least_squares")
    return Group(
        table,
        differences_table({name: each for name, each in found.differences.items() if name.endswith(wanted)}),
        Text(plain("\n".join(said), lines=True)),
        ran_on(found.machine, found.settings),
    )


def main_table(readouts: Mapping[str, Error], baselines: Mapping[str, Error], pairs: int) -> Table:
    """How far off every way to foretell the ratings is."""
    table = figures(f"{pairs:,} pairs", "RMSE", "MAE")
    for name, off in baselines.items():
        table.add_row(f"{_spoken(name)} (baseline)", *_figures(off))
    for name, off in readouts.items():
        table.add_row(_spoken(name), *_figures(off))
    return table


def differences_table(differences: Mapping[str, Difference]) -> Table:
    """Which differences are more than chance."""
    table = figures("RMSE less that of", "difference", "95% interval")
    for name, found in differences.items():
        table.add_row(_spoken(name.replace("-", " less ")), *_less(found))
    return table


def slices_table(found: RatingsEvaluation) -> Table:
    """RMSE by how much the user had written before the test began."""
    names = {"warm": "over 3 (warm)", "cold": "1 to 3 (cold)", "unseen": "none (unseen)"}
    table = figures("RMSE by reviews before the test", "pairs", "bias", "calibrated", "less bias, 95%", "covered")
    for name, part in found.slices.items():
        off = part.baselines["bias"].rmse, part.readouts["calibrated"].rmse
        told = (*(f"{each:.3f}" for each in off), _less(part.difference)[1], f"{part.covered:.0%}")
        table.add_row(names[name], f"{part.pairs:,}", *told)
    return table


def ablations_table(found: RatingsEvaluation) -> Table:
    """What is left without a part, or reading other reviews of the item."""
    table = figures("RMSE without", "alone", "less whole, 95%", "calibrated", "less whole, 95%")
    for name, part in found.ablations.items():
        alone = ("", "not heard")
        if part.model_difference:
            alone = f"{part.readouts['expectation'].rmse:.3f}", _less(part.model_difference)[1]
        own = f"{part.readouts['calibrated'].rmse:.3f}", _less(part.difference)[1]
        table.add_row(name.replace("-", " ").replace("item profile ", "read: "), *alone, *own)
    return table


def heard_line(found: Figures) -> str:
    """On how many pairs the model was heard."""
    if not found.heard:
        return "The model was not heard on any pair, so nothing is said of it alone."
    if found.heard < found.pairs:
        return f"The model was heard on {found.heard:,} of {found.pairs:,} pairs; the averages stand in on the others."
    return "The model was heard on all of them."


def calibrator_lines(calibrator: Calibrator) -> list[str]:
    """What the calibrator uses, and what that was found to add."""
    lines = [f"The calibrator, fitted on {calibrator.pairs:,} pairs, uses: {', '.join(calibrator.groups)}."]
    for each in calibrator.tried[1:]:
        taken = "used" if set(each.groups) <= set(calibrator.groups) else "not used"
        verdict = taken if len(each.groups) > 1 else "used in any case, for the rating is made of them"
        changes = f"change the mean squared error of {each.pairs:,} pairs by {each.gain:+.4f}"
        last = each.groups[-1]
        lines.append(f"Cross-validated, {last} ({MEANT[last]}) {changes} (standard error {each.error:.4f}): {verdict}.")
    lines.append(f"A further group is used where that lowers the error by more than {SURE:g} standard errors.")
    if MODEL not in calibrator.groups and any(MODEL in each.groups for each in calibrator.tried):
        lines.append("So the language model adds nothing certain to these ratings, and does not move them.")
    return lines


def interval_lines(interval: Coverage, distributions: Mapping[str, Sharpness]) -> list[str]:
    """Whether the distributions and the intervals can be believed."""
    surprise = ", ".join(
        f"{_spoken(name)} {each.nll:.3f} and {each.calibration_error:.3f}" for name, each in distributions.items()
    )
    return [
        f"The interval claims {interval.claimed:.0%} and holds {interval.covered:.1%}, {interval.width:.2f} wide.",
        f"Negative log-likelihood and calibration error: {surprise}.",
    ]


def _figures(off: Error) -> tuple[str, str]:
    return f"{off.rmse:.3f}", f"{off.mae:.3f}"


def _less(found: Difference) -> tuple[str, str]:
    return f"{found.rmse:+.3f}", found.between(3)


def _spoken(name: str) -> str:
    return name.replace("_", " ")
