"""`whylike learn`: learn from what came in, tell what came of it, and measure the whole loop on some reviews."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415, PLR0917
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from whylike.dates import minute
from whylike.errors import UsageError
from whylike.options import PLAIN, Json, Store, Verbose, WithArguments, examples, show
from whylike.tables import figures, told
from whylike.terminal import log, messages, plain, results

if TYPE_CHECKING:
    from rich.console import RenderableType

    from whylike.evaluation.looping import LoopEvaluation
    from whylike.graph.choosing import Outcome
    from whylike.graph.learning import Learning
    from whylike.records import Expert

LEARN = "whylike learn"
HISTORY = f"{LEARN} history"
LEARNERS = ("summarizer", "reasoner", "predictor")
"""The experts that go on learning."""
COMMANDS = ("now", "history")
POISONS = ("wrong-ratings", "flood", "instructions", "copies")


class WithExperts(typer.core.TyperGroup):
    """A group that has one command to be named, and one that is meant where none is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer keeps its contexts to itself
        """Name the one that is meant."""
        named = bool(args) and args[0] in self.commands
        return list(super().parse_args(ctx, args if named else ["now", *args]))


learn_app = typer.Typer(
    cls=WithExperts,
    help="Learn from what came in since the last run, and promote what is not worse.",
    epilog=examples(LEARN, f"{LEARN} predictor --dry-run", f"{LEARN} --watch", HISTORY),
    **{**PLAIN, "no_args_is_help": False},
)


@learn_app.command(
    "now",
    cls=WithArguments,
    epilog=examples(f"{LEARN} now --dry-run", f"{LEARN} predictor", f"{LEARN} --watch --min 200"),
)
def now(
    experts: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXPERT", help="summarizer, reasoner, predictor; any number of them."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be learned from, and change nothing.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: learn whenever enough has come in, until Ctrl-C.")
    ] = False,
    least: Annotated[
        int | None, typer.Option("--min", metavar="N", min=1, help="Learn where so much is new. Default: 100.")
    ] = None,
    teacher: Annotated[
        Literal["openai", "student", "nobody"] | None,
        typer.Option(
            metavar="WHO",
            help="Who makes examples of what came in: openai, the settings' teacher; student; nobody. "
            "Default: the teacher where one is set, else the student.",
        ),
    ] = None,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Learn from what came in since the last run, and promote what is not worse (`now` need not be said).

    The Summarizer learns from new annotations, the Reasoner from reasons for new reviews, the Predictor from the new
    reviews, each going on from the adapter that is live, with some old examples mixed in. Where a teacher is set
    (WHYLIKE_TEACHER_BASE_URL, WHYLIKE_TEACHER_MODEL), it summarizes new reviews first, and writes the reasons, within
    the day's budget. Without one the Reasoner samples reasons itself, and the Summarizer learns from the annotations
    that there are. A reason is learned only if it leads the reward expert less than 0.1 farther from the rating that
    was given. Where no expert is named, the Reasoner learns only if an adapter of it is live.

    The new adapter is promoted only if it is not worse, on the newest of what came in and on what no run ever learns
    from; else the old one stays, and it is said why. What answers elsewhere follows at its next query. `whylike
    adapters rollback EXPERT` goes back.

    A run that was killed goes on when the command is given again. Only one runs at a time. `whylike learn history`
    shows all runs.
    """
    if watch and dry_run:
        raise typer.BadParameter("--watch learns and --dry-run does not; give one of them")
    named = _experts(experts or ())
    from whylike.memory.connection import existing
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    settings = existing(load({"store": store}))
    if teacher == "openai":
        from whylike.agents.endpoint import Endpoint

        Endpoint.open(settings)  # who asks for a teacher is told at once that there is none

    from whylike.graph import learning as flow
    from whylike.graph.tutor import Who

    who = Who(teacher) if teacher else None
    enough = flow.LEAST if least is None else least
    with Watch(messages(), "looking at what came in") as display:
        watching = flow.Watching(step=told(display), training=display.training)
        if watch:
            for outcome in flow.watch(settings, named, least=enough, who=who, watching=watching):
                show(outcome, None if as_json else outcome_card(outcome))
            return
        done = flow.learn(settings, named, least=enough, who=who, dry_run=dry_run, watching=watching)
    show(done, None if as_json else learning_card(done))
    if any(each.outcome == "failed" for each in done.runs):
        raise typer.Exit(1)


@learn_app.command(epilog=examples(HISTORY, f"{HISTORY} --json"))
def history(as_json: Json = False, store: Store = None, verbose: Verbose = 0) -> None:
    """Show all runs: what each learned from, how it was judged, and what came of it."""
    from whylike.graph.learning import history as all_runs
    from whylike.memory.connection import existing
    from whylike.memory.store import Store as Opened
    from whylike.settings import load

    log(verbose)
    with Opened.open(existing(load({"store": store}))) as opened:
        done = all_runs(opened)
    if not as_json and not done.runs:
        results().print("There has been no run yet; `whylike learn` makes one.")
        return
    show(done, None if as_json else learning_card(done))


LOOP = examples("whylike evaluate learning reviews.jsonl", "whylike evaluate learning reviews.jsonl --poison flood")


def learning(
    reviews: Annotated[Path, typer.Argument(metavar="REVIEWS", help="File of reviews, plain or gzip.")],
    items: Annotated[Path | None, typer.Option(metavar="FILE", help="File of items: titles, descriptions.")] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A teacher's summaries of these reviews: a Summarizer learns from them."),
    ] = None,
    poison: Annotated[
        str | None,
        typer.Option(metavar="KIND", help=f"Spoil the first batch, and end with it: {', '.join(POISONS)}."),
    ] = None,
    start: Annotated[int, typer.Option(metavar="N", min=50, help="Examples that the first adapter learns from.")] = 300,
    limit: Annotated[int, typer.Option(metavar="N", min=20, help="Most pairs of the following batch.")] = 100,
    as_json: Json = False,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Folder to work in, which keeps what was done.")
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Measure the loop: deploy on the oldest 70% of some reviews, feed the rest in three batches, learn after each.

    It is a Predictor that learns, or with --annotations a Summarizer, of those reviews that a teacher has summarized.
    It shows the error, or the agreement with the teacher, on the following batch and on what no run learns from, with
    what was live and with what was trained, and whether that was promoted. Some quarters of an hour on a CPU.
    """
    if poison is not None and annotations is not None:
        raise typer.BadParameter("--poison spoils reviews that nobody has summarized; leave out --annotations")
    if poison is not None and poison not in POISONS:
        raise UsageError(f"--poison {poison} is not one of {', '.join(POISONS)}; give one of these")
    if store is None:
        raise UsageError("--store names no folder to work in; give one that is not a store of yours")
    from whylike.evaluation.looping import evaluate_loop
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    with Watch(messages(), "reading the reviews") as display:
        found = evaluate_loop(
            load({"store": store}),
            reviews,
            items,
            annotations,
            poison=poison,
            start=start,
            limit=limit,
            told=told(display),
            training=display.training,
        )
    show(found, None if as_json else loop_card(found))


def learning_card(done: Learning) -> RenderableType:
    """What came of runs, for people."""
    from rich.console import Group

    return Group(*map(outcome_card, done.runs))


def outcome_card(done: Outcome) -> RenderableType:
    """What came of one run, or why there was none, for people."""
    from rich.console import Group
    from rich.text import Text

    when = f"run {done.run_id}, {minute(done.began_at)}: " if done.run_id and done.began_at else ""
    said = {
        "promoted": f"{done.version} was promoted: {done.why}; `whylike adapters rollback {done.expert}` goes back",
        "kept": f"{done.parent or 'the base model'} stays, not {done.version}: {done.why}",
        "failed": f"nothing came of it: {done.why}",
        "waiting": f"nothing to do: {done.why}",
        "would learn": f"would go on from {done.parent or 'the base model'} with {done.why}",
    }[done.outcome]
    lines = [f"{done.expert}: {when}{said}.", *(f"  {note}" for note in done.notes)]
    if done.outcome != "failed":
        left = "; ".join(f"{count:,} {why}" for why, count in done.left_out.items())
        lines.append(
            f"  {done.arrived:,} came in: {done.new:,} to learn from, {done.newest:,} to judge by"
            f"{f'; left out: {left}' if left else ''}. "
            f"Old: {done.replayed:,} to learn from, {done.frozen:,} to judge by."
        )
    text = Text(plain("\n".join(lines), lines=True))
    if not done.compared:
        return text
    table = figures("set", "figure", "n", "before", "after", "worse by (95%)", "allowed")
    for each in done.compared:
        table.add_row(
            each.on,
            each.figure,
            f"{each.examples:,}",
            f"{each.before:.3f}",
            f"{each.after:.3f}",
            f"{each.low:+.3f} to {each.high:+.3f}",
            f"{each.margin:.3f}",
        )
    return Group(text, table)


def loop_card(found: LoopEvaluation) -> RenderableType:
    """What the loop did, for people."""
    from rich.console import Group
    from rich.text import Text

    table = figures("batch", "set", "figure", "n", "before", "after", "outcome")
    for batch in found.batches:
        name = f"{batch.number}{' spoilt' if batch.poison else ''}"
        for each in (*batch.following, *batch.outcome.compared):
            values = (f"{value:.3f}" for value in (each.before, each.after))
            table.add_row(name, each.on, each.figure, f"{each.examples:,}", *values, batch.outcome.outcome)
            name = ""
    about = f"The {found.expert} that was live before each run, and what the run trained; {found.seconds:,.0f} s in all"
    return Group(
        Text(about),
        table,
        *(outcome_card(batch.outcome) for batch in found.batches),
    )


def _experts(names: Iterable[str]) -> list[Expert]:
    """The experts with these names, each once."""
    from whylike.records import Expert

    for name in names:
        if name in COMMANDS:
            raise UsageError(f"{name} is a command and comes first, before its options: `{LEARN} {name} --json`")
        if name not in LEARNERS:
            raise UsageError(
                f"{name} does not go on learning; give one of {', '.join(LEARNERS)}, or train it with `whylike train`"
            )
    return [Expert(name) for name in LEARNERS if name in set(names)]
