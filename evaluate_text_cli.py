"""The commands of `whylike evaluate` about what is written: review summaries, and reasons."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415, PLR0917
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from whylike.options import Json, Store, Verbose, examples, show
from whylike.tables import figures, ran_on, told
from whylike.terminal import log, messages

if TYPE_CHECKING:
    from rich.console import RenderableType

    from whylike.evaluation.summaries import Agreement, SummariesEvaluation
    from whylike.records import AdapterCard, Expert

SUMMARIES = "whylike evaluate summaries"

Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="Most reviews, drawn at random. Default: all.")]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of what is drawn at random.")]
Version = Annotated[
    str | None, typer.Option("--adapter", metavar="VERSION", help="An adapter to evaluate. Default: the live one.")
]


def summaries(
    limit: Limit = None,
    adapter: Version = None,
    base: Annotated[bool, typer.Option(help="Whether to evaluate the base model too.")] = True,
    seed: Seed = 0,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Compare review summaries with a teacher's, on items that no training learns from.

    Evaluated are the Summarizer's adapter, live or not, and the base model in two ways: phrases of the review that it
    judges, as it is served, and lists that it writes after two examples. `whylike annotate` takes in what a teacher
    wrote.
    """
    from contextlib import closing

    from whylike.adapters.engines import open_engine
    from whylike.adapters.registry.registry import Registry
    from whylike.errors import UsageError
    from whylike.evaluation.summaries import evaluate_summaries, held_annotations
    from whylike.memory.store import Store as Truth
    from whylike.progress import Watch
    from whylike.records import Expert
    from whylike.settings import load

    log(verbose)
    settings = load({"store": store})
    with Truth.open(settings) as truth:
        registry = Registry(settings, truth)
        if adapter is not None:
            _of(registry.card(adapter), Expert.SUMMARIZER)
        version = adapter or registry.live_versions().get(Expert.SUMMARIZER)
        if version is None and not base:
            raise UsageError(
                "no adapter is live for the summarizer, and --no-base leaves nothing else; name one with --adapter"
            )
        wanted = held_annotations(truth, limit, seed)
        chosen = registry.adapters({Expert.SUMMARIZER: version}) if version else {}
    with closing(open_engine(settings, chosen)) as engine, Watch(messages(), "loading the model") as watch:
        evaluation = evaluate_summaries(
            settings, engine, wanted, chosen.get(Expert.SUMMARIZER), base=base, seed=seed, told=told(watch)
        )
    show(evaluation, None if as_json else summaries_card(evaluation))


def summaries_card(evaluation: SummariesEvaluation) -> RenderableType:
    """What `evaluate summaries` found, for people."""
    from rich.console import Group
    from rich.text import Text

    ways = evaluation.ways
    table = figures(f"{evaluation.reviews:,} reviews of {evaluation.items:,} items", *ways, "teacher")

    def row(name: str, of: dict[str, str], teacher: str = "") -> None:
        table.add_row(name, *(of[way] for way in ways), teacher)

    def agreements(name: str, of: dict[str, Agreement | None]) -> None:
        row(f"{name}: F1", {way: f"{each.f1.value:.3f}" if each else "" for way, each in of.items()})
        row(
            "  95% interval", {way: f"{each.f1.low:.3f}-{each.f1.high:.3f}" if each else "" for way, each in of.items()}
        )
        row("  precision", {way: f"{each.precision:.3f}" if each else "" for way, each in of.items()})
        row("  recall", {way: f"{each.recall:.3f}" if each else "" for way, each in of.items()})
        row(
            "  aspects",
            {way: f"{each.found:,}" if each else "" for way, each in of.items()},
            next((f"{each.wanted:,}" for each in of.values() if each), ""),
        )

    def faults(name: str, of: dict[str, float | None], teacher: float | None = None) -> None:
        row(name, {way: _share(share) for way, share in of.items()}, _share(teacher))

    agreements("likes and dislikes", {name: way.aspects for name, way in ways.items()})
    agreements("cares about", {name: way.preferences for name, way in ways.items()})
    row("ROUGE-L", {name: f"{way.rouge_l:.3f}" for name, way in ways.items()})
    teacher = evaluation.teacher
    faults("whole answers", {name: way.valid for name, way in ways.items()})
    faults("repeated", {name: way.repeated for name, way in ways.items()}, teacher.repeated)
    faults("  when written", {name: way.repeated_when_written for name, way in ways.items()})
    faults("invented", {name: way.invented for name, way in ways.items()}, teacher.invented)
    faults(
        "  held against another",
        {name: way.invented_elsewhere for name, way in ways.items()},
        teacher.invented_elsewhere,
    )
    row("seconds", {name: f"{way.seconds:,.1f}" for name, way in ways.items()})
    said = (
        "Invented: without support in the review; held against that of another item, where nearly all should be, it "
        "shows what the test finds. Adapter: lists that it writes. Base judged: phrases of the review, as the base "
        "model is served. Base written: lists that it writes after two examples."
    )
    return Group(table, Text(said), ran_on(evaluation.machine, evaluation.settings))


def _of(card: AdapterCard, expert: Expert) -> None:
    """Raise `UsageError` where an adapter is another expert's."""
    from whylike.errors import UsageError

    if card.expert != expert:
        raise UsageError(
            f"{card.version} is an adapter of the {card.expert}, not of the {expert}; `whylike adapters list` shows "
            f"those there are"
        )


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


EXAMPLES = {"summaries": examples(SUMMARIES, f"{SUMMARIES} --limit 50 --adapter summarizer-3fa9c2d1")}
