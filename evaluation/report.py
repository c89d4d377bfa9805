"""A report of `whylike evaluate ratings` as Markdown with plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from whylike.errors import UsageError
from whylike.evaluation.figures import Figures
from whylike.evaluation.metrics import Difference, Error
from whylike.evaluation.ratings import RatingsEvaluation
from whylike.terminal import many

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

REPORT = "ratings.md"
SIZE = (6.4, 4.0)
"""Inches of a plot."""


def write_report(folder: Path, found: Figures, card: RenderableType) -> Path:
    """Write the report into a folder, which is made; what is there by the same names is replaced.

    Args:
        folder: Where to.
        found: What an evaluation found.
        card: The same for people.

    Returns:
        The Markdown file.

    Raises:
        UsageError: The folder cannot be written.
    """
    plots = {"calibration.png": ("How often a probability comes true", _calibration(found))}
    if found.by_history:
        plots["history.png"] = ("Error against what was known of the user", _history(found))
    if isinstance(found, RatingsEvaluation) and found.ablations:
        plots["ablations.png"] = ("Without a part, or otherwise", _ablations(found))
    lines = ["# Ratings", "", *_errors(found), "", *_differences(found.differences), ""]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (title, figure) in plots.items():
            figure.savefig(folder / name, dpi=120)
            lines += [f"## {title}", "", f"![{title}]({name})", ""]
        lines += ["## As printed", "", "```text", *_printed(card), "```", ""]
        (folder / REPORT).write_text("\n".join(lines), encoding="utf-8")
        (folder / "ratings.json").write_text(found.model_dump_json(indent=2), encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"--report {folder} cannot be written ({why}); give a folder that can be") from None
    return folder / REPORT


def _errors(found: Figures) -> list[str]:
    rows: list[Mapping[str, Error]] = [found.baselines, found.readouts]
    marks = (" (baseline)", "")
    lines = [f"{found.pairs:,} pairs.", "", "| | RMSE | MAE |", "|---|---|---|"]
    for mark, part in zip(marks, rows, strict=True):
        lines += [f"| {name.replace('_', ' ')}{mark} | {off.rmse:.3f} | {off.mae:.3f} |" for name, off in part.items()]
    return lines


def _differences(differences: Mapping[str, Difference]) -> list[str]:
    lines = ["| RMSE of one less that of the other | difference | 95% interval |", "|---|---|---|"]
    for name, each in differences.items():
        pair = name.replace("-", " less ").replace("_", " ")
        lines.append(f"| {pair} | {each.rmse:+.4f} | {each.between(4)} |")
    return lines


def _printed(card: RenderableType) -> list[str]:
    console = Console(width=100, record=True, file=StringIO(), color_system=None, force_terminal=False)
    console.print(card)
    return [line.rstrip() for line in console.export_text().splitlines()]


def _calibration(found: Figures) -> Figure:
    figure, axes = _plot("probability that the calibrated answer gave", "share that came true; the larger, the more")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.scatter(
        [each.predicted for each in found.reliability],
        [each.observed for each in found.reliability],
        s=[20 + 180 * each.count / max(one.count for one in found.reliability) for each in found.reliability],
    )
    return figure


def _history(found: Figures) -> Figure:
    figure, axes = _plot("ratings that the user had given before the pair, and the number of pairs", "RMSE")
    labels = [f"{each.label}\n{many(each.pairs, 'pair')}" for each in found.by_history]
    for name, mark in (("bias", "o"), ("calibrated", "x")):  # no line: neighbouring bins are of other users
        axes.plot(labels, [each.rmse[name] for each in found.by_history], linestyle="", marker=mark, label=name)
    axes.legend()
    return figure


def _ablations(found: RatingsEvaluation) -> Figure:
    figure, axes = _plot("RMSE of the calibrated answer less that of the whole", "")
    names: Sequence[str] = list(found.ablations)
    offs = [found.ablations[name].difference for name in names]
    axes.axvline(0, color="grey", linewidth=1)
    axes.errorbar(
        [each.rmse for each in offs],
        names,
        xerr=[
            [0.0 if each.low is None else each.rmse - each.low for each in offs],
            [0.0 if each.high is None else each.high - each.rmse for each in offs],
        ],
        fmt="o",
        capsize=4,
    )
    return figure


def _plot(across: str, up: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure as Plot  # noqa: PLC0415 - a second to import

    figure = Plot(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes
