"""The command that teaches the experts: trains adapters on what teachers wrote and on reviews."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415, PLR0917
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whylike.errors import UsageError
from whylike.options import Json, Store, Verbose, examples, show
from whylike.terminal import log, many, messages, plain

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.console import RenderableType

    from whylike.adapters.training.teach import Lesson

TRAIN = "whylike train summarizer"
RATINGS = ("predictor", "reward")
"""The experts that learn from pairs."""
PAIRS = 2000
"""Pairs that they learn from, unless --limit says otherwise."""
REASONS = 500
"""Pairs for which the Reasoner gives a reason first, unless --reasons says otherwise: some seconds each on a CPU."""
WITHOUT = {
    "summarizer": "the store has nothing to teach the summarizer with; have a teacher summarize reviews "
    "(`whylike annotate summaries`), or take in its summaries (`whylike annotate --import FILE`)",
    "reasoner": "the store has nothing to teach the reasoner with; take in a teacher's reasons "
    "(`whylike annotate --import FILE`), or have some written and judged (`whylike annotate reasons`)",
}
"""What is said where there are no examples."""


def train(
    expert: Annotated[
        Literal["summarizer", "reasoner", "predictor", "reward"],
        typer.Argument(metavar="EXPERT", help="summarizer, reasoner, predictor or reward."),
    ],
    epochs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Times that each example is learned.")] = None,
    rate: Annotated[float | None, typer.Option(metavar="R", min=1e-8, help="Learning rate at its highest.")] = None,
    rank: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rank of the adapter; its alpha is twice that.")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", min=1, help="Examples of one step.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of all that is drawn at random.")] = 0,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Predictor and reward: most reviews to learn from. Default: 2,000."),
    ] = None,
    reasons: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Predictor: how many get the Reasoner's reason first. Default: 500."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="VERSION", help="Go on from an adapter of the registry, which gives the rank."),
    ] = None,
    also_scale: Annotated[
        str | None,
        typer.Option(
            metavar="MIN:MAX[:STEP]",
            help="Predictor: have it serve stores of this rating scale too, and profiles in place of reviews.",
        ),
    ] = None,
    data: Annotated[
        str, typer.Option(metavar="TEXT", help="For the adapter's card: what it learns from, on what terms.")
    ] = "",
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Train an adapter for an expert, and add it to the registry.

    Summarizer and Reasoner learn from what teachers wrote, the Predictor and the reward expert from the store's own
    reviews, but for the newest fifth: what was known before each, and for the Predictor the Reasoner's reason, for the
    reward expert the review itself, to its rating. Pairs that were imported with profiles are learned from too.

    Nothing answers with it until `whylike adapters promote`. A run that was killed goes on where it was when the same
    command is given again. Several GPUs share the steps where `accelerate launch -m whylike.cli train ...` starts it.
    One in ten items (of imported pairs, users) is left out of all training, to be evaluated with. What is not given
    depends on the expert; the adapter's card has it.
    """
    if (limit is not None and expert not in RATINGS) or (
        (reasons, also_scale) != (None, None) and expert != RATINGS[0]
    ):
        raise typer.BadParameter(
            "--limit is for the predictor and reward, --reasons and --also-scale for the predictor; leave it out"
        )
    if start and rank:
        raise typer.BadParameter("--from goes on at the rank of that adapter; leave out --rank")
    from rich.console import Console

    from whylike.adapters.engines.model import device
    from whylike.adapters.registry.registry import Registry
    from whylike.adapters.training.teach import RECIPES, examples_for, going_on, teach
    from whylike.adapters.training.trainer import processes
    from whylike.graph import lessons
    from whylike.graph.services import Services
    from whylike.graph.state import Event
    from whylike.memory.connection import existing
    from whylike.memory.store import Store as Opened
    from whylike.progress import Watch
    from whylike.records import Expert, RatingScale
    from whylike.settings import load

    log(verbose)
    settings = existing(load({"store": store}))
    who = Expert(expert)
    other = None if also_scale is None else RatingScale.parse(also_scale)
    flags = {"epochs": epochs, "rate": rate, "rank": rank, "batch": batch, "seed": seed}
    given = {name: value for name, value in flags.items() if value is not None}
    recipe = RECIPES[who].model_copy(update={**given, **({"alpha": 2 * rank} if rank else {})})
    more = {"limit": limit, "reasons": reasons, "from": start, "also-scale": other and str(other)}
    said = given | {name: value for name, value in more.items() if value is not None}
    command = " ".join(["whylike train", expert, *(f"--{name} {value}" for name, value in said.items())])
    if start:
        with Opened.open(settings) as opened:
            recipe = going_on(recipe, Registry(settings, opened), who, start)
    group = processes(device(settings.device))
    made_with: dict[str, JsonValue] = {}
    with Watch(messages() if group.is_main_process else Console(quiet=True), "loading the model") as watch:
        if expert in RATINGS:
            with group.main_process_first(), Services.open(settings, told=watch.index) as services:
                chosen = {
                    "limit": PAIRS if limit is None else limit,
                    "reasons": REASONS if reasons is None else reasons,
                }
                made_with = lessons.made_with(services, who, **chosen, start=start)
                learned = lessons.examples(
                    services,
                    who,
                    **chosen,
                    seed=seed,
                    other=other,
                    told=lambda done, total: watch.event(Event(node="giving reasons", done=done, total=total)),
                )
        with Opened.open(settings) as opened:
            if expert not in RATINGS:
                made_with = {"arrivals": opened.arrivals()}
                if not (learned := examples_for(who, opened)):
                    raise UsageError(WITHOUT[expert])
            lesson = teach(
                who,
                settings,
                opened,
                learned,
                recipe,
                command=command,
                data=data,
                parent=start,
                made_with=made_with,
                told=watch.training,
            )
    if group.is_main_process:
        show(lesson, None if as_json else lesson_card(lesson))


def lesson_card(lesson: Lesson) -> RenderableType:
    """What came of a training, for people."""
    from rich.text import Text

    error = f", RMSE of their ratings {lesson.validation_rmse:.3f}" if lesson.validation_rmse is not None else ""
    left = f", {lesson.left_out:,} were too long" if lesson.left_out else ""
    took = "trained before" if lesson.done_before else f"{many(lesson.steps, 'step')} in {lesson.seconds:,.0f} s"
    return Text(
        plain(
            f"{lesson.version} is in the registry; `whylike adapters promote {lesson.version}` makes it live.\n"
            f"{many(lesson.examples, 'example')} in an epoch, each as often as it counts{left}; {took}; "
            f"loss on the validation examples {lesson.validation_loss:.3f}{error}",
            lines=True,
        )
    )


EXAMPLES = {
    "train": examples(TRAIN, "whylike train reasoner --epochs 1 --rank 8", "whylike train predictor --limit 500"),
}
