"""The commands of `whylike evaluate` about what is written: review summaries, and reasons."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415, PLR0917
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from whylike.options import Json, Store, Verbose, examples, show
from whylike.tables import figures, ran_on, told
from whylike.terminal import log, many, messages

if TYPE_CHECKING:
    from rich.console import RenderableType

    from whylike.adapters.registry.registry import Registry
    from whylike.evaluation.reasons import ReasonsEvaluation
    from whylike.evaluation.summaries import Agreement, SummariesEvaluation
    from whylike.records import Expert

FEW = 10
"""Items from which an interval says something."""
SUMMARIES = "whylike evaluate summaries"
REASONS = "whylike evaluate reasons"

Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="Most reviews, drawn at random. Default: all.")]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of what is drawn at random.")]
Version = Annotated[
    str | None, typer.Option("--adapter", metavar="VERSION", help="An adapter to evaluate. Default: the live one.")
]
Base = Annotated[bool, typer.Option(help="Whether to evaluate the base model too.")]


def summaries(
    limit: Limit = None,
    adapter: Version = None,
    base: Base = True,
    seed: Seed = 0,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Compare review summaries with a teacher's, on items that no training learns from.

    Evaluated are the Summarizer's adapter, live or not, and the base model in two ways: phrases of the review that it
    judges, as it is served where no adapter is live, and lists that it writes after two examples. `whylike annotate`
    takes in what a teacher wrote.
    """
    from contextlib import closing

    from whylike.adapters.engines import open_engine
    from whylike.adapters.registry.registry import Registry
    from whylike.evaluation.summaries import evaluate_summaries, held_annotations
    from whylike.memory.connection import existing
    from whylike.memory.store import Store as Truth
    from whylike.progress import Watch
    from whylike.records import Expert
    from whylike.settings import load

    log(verbose)
    settings = existing(load({"store": store}))
    with Truth.open(settings) as truth:
        registry = Registry(settings, truth)
        version = _version(registry, Expert.SUMMARIZER, adapter, base=base)
        wanted = held_annotations(truth, limit, seed)
        chosen = registry.adapters({Expert.SUMMARIZER: version}) if version else {}
    with closing(open_engine(settings, chosen)) as engine, Watch(messages(), "loading the model") as watch:
        evaluation = evaluate_summaries(
            settings, engine, wanted, chosen.get(Expert.SUMMARIZER), base=base, seed=seed, told=told(watch)
        )
    show(evaluation, None if as_json else summaries_card(evaluation))


def reasons(
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Most pairs, drawn at random.")] = 100,
    adapter: Version = None,
    base: Base = True,
    seed: Seed = 0,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Measure the reasons for pairs of the newest tenth of the store's reviews.

    Each review is foretold as of just before it was written, by the Reasoner's adapter, live or not, and by the base
    model in its place. In the swap test each pair is rated with another pair's reason too. What is worked out stays in
    the store, as after `whylike explain`.
    """
    from contextlib import closing

    from whylike.adapters.engines import open_engine
    from whylike.adapters.registry.registry import Registry
    from whylike.evaluation.reasoning import newest
    from whylike.evaluation.reasons import evaluate_reasons
    from whylike.graph.services import Services
    from whylike.memory.connection import existing
    from whylike.memory.store import Store as Truth
    from whylike.progress import Watch
    from whylike.records import Expert
    from whylike.settings import load

    log(verbose)
    settings = existing(load({"store": store}))
    with Truth.open(settings) as truth:
        registry = Registry(settings, truth)
        version = _version(registry, Expert.REASONER, adapter, base=base)
        reviews = newest(truth, limit, seed)
        others = registry.live_versions()
        others.pop(Expert.REASONER, None)
        ways = {}
        if version:
            ways["adapter"] = registry.adapters({**others, Expert.REASONER: version})
        if base:
            ways["base"] = registry.adapters(others)
    with (
        Watch(messages(), "loading the model") as watch,
        closing(open_engine(settings, next(iter(ways.values())))) as engine,
        Services.open(settings, engine=engine, told=watch.index) as services,
    ):
        evaluation = evaluate_reasons(services, reviews, ways, seed, told(watch))
    show(evaluation, None if as_json else reasons_card(evaluation))


def summaries_card(evaluation: SummariesEvaluation) -> RenderableType:
    """What `evaluate summaries` found, for people."""
    from rich.console import Group
    from rich.text import Text

    ways = evaluation.ways
    table = figures(f"{evaluation.reviews:,} reviews of {many(evaluation.items, 'item')}", *ways, "teacher")

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
    faults("  when written", {name: way.invented_when_written for name, way in ways.items()})
    faults(
        "  held against another",
        {name: way.invented_elsewhere for name, way in ways.items()},
        teacher.invented_elsewhere,
    )
    row("seconds", {name: f"{way.seconds:,.1f}" for name, way in ways.items()})
    said = (
        "Invented: without support in the review; held against that of another item, where nearly all should be, it "
        "shows what the test finds. What is repeated or invented by these tests is not served, so that only what was "
        "written can have any. Adapter: lists that it writes. Base judged: phrases of the review, as the base "
        "model is served. Base written: lists that it writes after two examples."
    )
    if evaluation.items < FEW:
        said += f" The intervals, of drawing only {many(evaluation.items, 'item')} anew, say little."
    return Group(table, Text(said), ran_on(evaluation.machine, evaluation.settings))


def reasons_card(evaluation: ReasonsEvaluation) -> RenderableType:
    """What `evaluate reasons` found, for people."""
    from rich.console import Group
    from rich.text import Text

    ways = evaluation.ways.values()
    table = figures(f"{evaluation.pairs:,} pairs", *evaluation.ways)
    table.add_row("reasons", *(f"{evaluation.pairs - way.without:,}" for way in ways))
    table.add_row("sentences", *(f"{way.sentences:,}" for way in ways))
    table.add_row("  supported", *(_share(way.supported) for way in ways))
    table.add_row("  of those written served", *(_share(way.served) for way in ways))
    table.add_row("  repeated", *(_share(way.repeated) for way in ways))
    table.add_row("reasons with something of the user's own", *(_share(way.personal) for way in ways))
    table.add_row("reasons that state a rating", *(_share(way.stating) for way in ways))
    table.add_row("  when written", *(_share(way.stating_when_written) for way in ways))
    table.add_row("  that the check for training would not keep", *(_share(way.leaking) for way in ways))
    table.add_row("reasons that copy a review", *(_share(way.copied) for way in ways))
    table.add_row("reasons that another pair has too", *(_share(way.same) for way in ways))
    table.add_row("words", *(f"{way.words:.1f}" for way in ways))
    table.add_row("  pairs that differ, in a reason", *(_share(way.distinct_within) for way in ways))
    table.add_row("  in all reasons", *(_share(way.distinct_across) for way in ways))
    like = [way.likeness for way in ways]
    table.add_row("close to the user's review", *(f"{each.own:.3f}" if each else "" for each in like))
    table.add_row("  to a stranger's", *(f"{each.other:.3f}" if each else "" for each in like))
    table.add_row(
        "  difference, 95% interval",
        *(f"{each.difference.low:+.3f} to {each.difference.high:+.3f}" if each else "" for each in like),
    )
    poles = [way.polarity for way in ways]
    table.add_row(
        "sounds as it was rated: correlation", *(f"{each.correlation:+.3f}" if each else "" for each in poles)
    )
    table.add_row("  p", *(f"{each.p:.4f}" if each else "" for each in poles))
    for name in dict.fromkeys(name for way in ways for name in way.swap):
        swaps = [way.swap[name] for way in ways]
        table.add_row(f"swap: {name.replace('_', ' ')} moves", *(f"{each.moved:.4f}" for each in swaps))
        table.add_row(
            "  sentences reordered", *("" if each.reordered is None else f"{each.reordered:.4f}" for each in swaps)
        )
        table.add_row("  p of more than that", *(f"{each.moved_p:.4f}" for each in swaps))
        table.add_row("  follows what it says: correlation", *(f"{each.follows:+.3f}" for each in swaps))
        table.add_row("  p", *(f"{each.follows_p:.4f}" for each in swaps))
        table.add_row("  nearer to the rating by", *(f"{each.nearer:+.4f}" for each in swaps))
        table.add_row("  p", *(f"{each.nearer_p:.4f}" for each in swaps))
    table.add_row("seconds a pair", *(f"{way.seconds_per_pair:.1f}" for way in ways))
    said = (
        "Swap: the same pair rated with another pair's reason. What a reason says is heard by the base model, as "
        "praise or blame. Uncalibrated expectation: of the model alone. The check for training (`whylike annotate "
        "reasons`) takes any number that could be a rating for one."
    )
    return Group(table, Text(said), ran_on(evaluation.machine, evaluation.settings))


def _version(registry: Registry, expert: Expert, adapter: str | None, *, base: bool) -> str | None:
    """The adapter version to evaluate, named or live; None where only the base model is.

    Raises `UsageError` where it is another expert's, or where nothing is left to evaluate.
    """
    from whylike.errors import UsageError

    if adapter is not None and (card := registry.card(adapter)).expert != expert:
        raise UsageError(
            f"{adapter} is an adapter of the {card.expert}, not of the {expert}; `whylike adapters list` shows those "
            f"there are"
        )
    version = adapter or registry.live_versions().get(expert)
    if version is None and not base:
        raise UsageError(
            f"no adapter is live for the {expert}, and --no-base leaves nothing else; name one with --adapter"
        )
    return version


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


EXAMPLES = {
    "summaries": examples(SUMMARIES, f"{SUMMARIES} --limit 50 --adapter summarizer-3fa9c2d1"),
    "reasons": examples(REASONS, f"{REASONS} --limit 20 --adapter reasoner-3fa9c2d1"),
}
