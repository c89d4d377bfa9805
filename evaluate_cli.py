"""The commands of `whylike evaluate`: where the answers stand, beside what they have to beat."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415, PLR0917
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whylike.evaluate_text_cli import EXAMPLES, reasons, summaries
from whylike.evaluation.ablation import Ablation
from whylike.learn_cli import LOOP, learning
from whylike.options import PLAIN, Engine, Json, Store, Verbose, WithArguments, examples, show
from whylike.tables import told
from whylike.terminal import log, messages, plain

if TYPE_CHECKING:
    from whylike.evaluation.exp3rt import Exp3rtEvaluation
    from whylike.evaluation.ratings import RatingsEvaluation

RATINGS = "whylike evaluate ratings"
LIMIT, VALIDATION = 500, 1000
"""Test pairs, and pairs that the calibrator is fitted on, unless --limit and --validation say otherwise."""
FOLDS = 5
"""Of EXP3RT's pairs, unless --folds says otherwise."""

evaluate_app = typer.Typer(
    help="Measure how good the answers are, beside what they have to beat.",
    epilog=examples(f"{RATINGS} --limit 100"),
    **PLAIN,
)
evaluate_app.command(epilog=EXAMPLES["summaries"])(summaries)
evaluate_app.command(epilog=EXAMPLES["reasons"])(reasons)


evaluate_app.command(cls=WithArguments, epilog=LOOP)(learning)


@evaluate_app.command(epilog=examples("whylike evaluate routing", "whylike evaluate routing --utterances own.yaml"))
def routing(
    utterances: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your own, as YAML: lists by what they ask for, names of items in [brackets]. Default: those that "
            "come along, which the router is never taught with.",
        ),
    ] = None,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Measure whether a conversation's turns are told apart, on utterances that were kept from the router."""
    from whylike.evaluation.routing import evaluate_routing, routing_card
    from whylike.settings import load

    log(verbose)
    found = evaluate_routing(load({"store": store}), utterances)
    show(found, None if as_json else routing_card(found))


@evaluate_app.command(
    epilog=examples(
        f"{RATINGS} --no-reason",
        f"{RATINGS} --limit 100 --validation 200 --report ratings",
        f"{RATINGS} --exp3rt imdb.json --folds 5",
    )
)
def ratings(
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Most test pairs. Default: 500; with --exp3rt all.")
    ] = None,
    validation: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Most pairs that the calibrator is fitted on. Default: 1,000."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of what is drawn at random.")] = 0,
    no_reason: Annotated[
        bool, typer.Option("--no-reason", help="Only the averages, without the model: a minute at most.")
    ] = False,
    ablation: Annotated[
        list[Ablation] | None,
        typer.Option(
            metavar="PART",
            help="Measure without it too: no-reason, no-averages, one-step; or with other reviews of the item: "
            "item-profile-helpful, item-profile-neighbours. May be repeated.",
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the calibrator in the store, for explain to use.")] = False,
    exp3rt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Measure on pairs in the shape of EXP3RT's released ones, not on the store's reviews."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write a report too: Markdown, plots and the JSON document.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="With --exp3rt: folds by user. Default: 5.")
    ] = None,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="With --exp3rt: train a predictor for each fold on the others; hours.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --finetune: of each training. Default: 1.")
    ] = None,
    engine: Engine = None,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Foretell the newest ratings of the store, calibrated on those before them.

    The newest tenth of the reviews is the test, the tenth before it the validation. The table has the means, the damped
    bias and matrix factorisation beside the answers, with bootstrap intervals of the differences. What is worked out
    stays in the store, so that a second run is quick.

    With --exp3rt the pairs are those of a file, with their profiles as given, split into folds by user.
    """
    if exp3rt is not None and (ablation or keep or validation):
        raise typer.BadParameter(
            "--validation, --ablation and --keep are about the store's reviews; leave them out with --exp3rt"
        )
    if exp3rt is None and folds:
        raise typer.BadParameter("--folds goes with --exp3rt")
    if (finetune and (exp3rt is None or no_reason)) or (epochs and not finetune):
        raise typer.BadParameter("--finetune goes with --exp3rt and without --no-reason, --epochs with --finetune")
    from whylike.adapters.training.teach import RECIPES
    from whylike.evaluation.exp3rt import evaluate_exp3rt
    from whylike.evaluation.ratings import evaluate
    from whylike.evaluation.report import write_report
    from whylike.graph.pair import Services
    from whylike.memory.connection import existing
    from whylike.progress import Watch
    from whylike.ratings_card import exp3rt_card, ratings_card
    from whylike.records import Expert
    from whylike.settings import load

    log(verbose)
    settings = load({"store": store, "engine": engine})
    if exp3rt is None:
        existing(settings)
    with (
        Watch(messages(), "loading the model") as watch,
        Services.open(settings, told=watch.index) as services,
    ):
        found: Exp3rtEvaluation | RatingsEvaluation
        if exp3rt is not None:
            found = evaluate_exp3rt(
                services,
                exp3rt,
                count=folds or FOLDS,
                limit=limit,
                seed=seed,
                with_reason=not no_reason,
                finetune=RECIPES[Expert.PREDICTOR].model_copy(update={"epochs": epochs or 1}) if finetune else None,
                told=told(watch),
            )
            card = exp3rt_card(found)
        else:
            found = evaluate(
                services,
                limit=limit or LIMIT,
                validation=validation or VALIDATION,
                seed=seed,
                with_reason=not no_reason,
                ablations=tuple(dict.fromkeys(ablation or ())),
                keep=keep,
                told=told(watch),
            )
            card = ratings_card(found)
    if report is not None:
        written = write_report(report, found, card)
        messages().print(plain(f"The report is in {written}."), soft_wrap=True)
    show(found, None if as_json else card)
