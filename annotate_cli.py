"""The commands about teachers' annotations: take them in, have them written, and see what was written."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415, PLR0917
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whylike.dates import minute
from whylike.errors import BudgetError
from whylike.options import PLAIN, Json, Store, Verbose, examples, show
from whylike.terminal import log, many, messages, plain, results

if TYPE_CHECKING:
    from rich.console import RenderableType

    from whylike.agents.budget import Paid
    from whylike.graph.annotating import Annotated as Read
    from whylike.graph.filtering import Filtered
    from whylike.memory.written import Entry, Listing

IMPORT = "whylike annotate --import review_summaries.jsonl.gz"
SUMMARIES_OF = "whylike annotate summaries --limit 500"
REASONS_OF = "whylike annotate reasons --limit 100"
LIST = "whylike annotate list"
NAMED = 10
"""Lines, or reviews, that are named of those that are left out."""

Concurrency = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=64, help="Most calls at once; else WHYLIKE_TEACHER_CONCURRENCY, else 4."),
]

annotate_app = typer.Typer(**PLAIN)


@annotate_app.callback(invoke_without_command=True, epilog=examples(IMPORT, SUMMARIES_OF, REASONS_OF, LIST))
def annotate(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Summaries or reasons of a teacher: JSON Lines, plain or gzip."),
    ] = None,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Take in what a teacher wrote, for `whylike train`, or have summaries or reasons written.

    With --import each row has either item_id, text, rating and summary, three lines that begin with Positive Aspects:,
    Negative Aspects: and User Preference Elements:, or title, user_history, item_history and reason, where the
    histories are such summaries one after another. A second run of a file changes nothing.
    """
    if (file is None) is (context.invoked_subcommand is None):
        raise typer.BadParameter("give either --import FILE or one of the commands summaries, reasons and list")
    if file is None and (store or verbose):
        raise typer.BadParameter("give --store and -v after the command")
    if file is None:
        return
    from whylike.memory.importers.teacher import read_annotations
    from whylike.memory.store import Store as Opened
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    passed: list[int] = []
    with Opened.open(load({"store": store})) as opened, Watch(messages(), f"reading {file.name}"):
        new, there = opened.add_annotations(read_annotations(file, passed.append), str(file))
    told = f"{many(new, 'new annotation')}, {there:,} there already.{_left_out(passed)}"
    results().print(told, highlight=False)


@annotate_app.command(epilog=examples(SUMMARIES_OF))
def summaries(
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Most reviews.")] = 500,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of which reviews come first.")] = 0,
    concurrency: Concurrency = None,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Have the teacher summarize reviews: what `whylike train summarizer` learns from, and is measured by.

    The reviews are a sample of all but the newest fifth; a larger --limit adds to it. A run that was killed goes on
    where it was, and a second one asks only about those whose answer could not be read. Where the day's budget is used
    up (WHYLIKE_TEACHER_CALLS, WHYLIKE_TEACHER_TOKENS), the run ends with status 1, and another day's goes on.

    The teacher is any OpenAI-compatible server: WHYLIKE_TEACHER_BASE_URL, WHYLIKE_TEACHER_MODEL, and if it asks for a
    key WHYLIKE_TEACHER_KEY or a file named by WHYLIKE_TEACHER_KEY_FILE.
    """
    from whylike.agents.endpoint import Endpoint
    from whylike.memory.connection import existing
    from whylike.memory.store import Store as Opened
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    settings = existing(load({"store": store, "teacher_concurrency": concurrency}))
    endpoint = Endpoint.open(settings)  # who has set no teacher is told at once
    with Opened.open(settings) as opened, Watch(messages(), "choosing reviews") as watch:
        from whylike.agents.budget import Budget
        from whylike.agents.teacher import Teacher
        from whylike.graph.annotating import annotate_summaries, older
        from whylike.graph.state import Event

        budget = Budget(opened, settings)

        def told(done: int, total: int) -> None:
            more = budget.course(done, total)
            watch.event(Event(node="having reviews summarized", done=done, total=total, text=more))

        found = annotate_summaries(
            opened,
            Teacher(endpoint, budget),
            older(opened, limit, seed),
            workers=settings.teacher_concurrency,
            told=told,
        )
        # What was under way when the budget refused has been settled by now.
        stopped = found.stopped and budget.used_up()
        found = found.model_copy(update={"paid": budget.paid, "stopped": stopped})
    show(found, None if as_json else summarized_card(found))
    if found.stopped:
        raise BudgetError(f"{found.stopped}; {many(found.left, 'review')} left: the same command goes on with them")


@annotate_app.command(epilog=examples(REASONS_OF, "whylike annotate reasons --limit 20 --teacher openai"))
def reasons(
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Most pairs.")] = 200,
    tau: Annotated[
        float, typer.Option(metavar="T", help="How much farther from the true rating a reason may lead.")
    ] = 0.1,
    tries: Annotated[int, typer.Option(metavar="N", min=0, help="Most candidates that are written with a hint.")] = 10,
    teacher: Annotated[
        Literal["student", "openai"],
        typer.Option(metavar="WHO", help="Who writes: student, the Reasoner itself, or openai, the settings' teacher."),
    ] = "student",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of which pairs come first.")] = 0,
    concurrency: Concurrency = None,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Have reasons written for reviewed pairs, and keep those that lead the reward expert to the rating.

    A candidate is kept if with it the reward expert is at most T farther from the true rating than without a reason.
    Where the first is not, further ones are written by a writer that was given the rating as a hint. None that may give
    the rating away is kept. The pairs are those that `whylike train reward` may learn from; the kept reasons are what
    `whylike train reasoner` learns from too. A run that was killed goes on where it was, and so does another day's
    where a teacher's budget was used up (WHYLIKE_TEACHER_CALLS, WHYLIKE_TEACHER_TOKENS), which ends with status 1.

    The teacher is any OpenAI-compatible server: WHYLIKE_TEACHER_BASE_URL, WHYLIKE_TEACHER_MODEL, and if it asks for a
    key WHYLIKE_TEACHER_KEY or a file named by WHYLIKE_TEACHER_KEY_FILE.
    """
    from whylike.agents.endpoint import Endpoint
    from whylike.memory.connection import existing
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    settings = existing(load({"store": store, "teacher_concurrency": concurrency}))
    endpoint = Endpoint.open(settings) if teacher == "openai" else None

    from whylike.agents.budget import Budget
    from whylike.agents.teacher import Student, Teacher
    from whylike.graph.filtering import chosen_pairs, filter_reasons
    from whylike.graph.services import Services
    from whylike.graph.state import Event

    with (
        Watch(messages(), "loading the model") as watch,
        Services.open(settings, told=watch.index) as services,
    ):
        budget = Budget(services.store, settings)

        def told(done: int, total: int) -> None:
            more = budget.course(done, total) if endpoint else ""
            watch.event(Event(node="finding reasons", done=done, total=total, text=more))

        found = filter_reasons(
            services,
            Teacher(endpoint, budget) if endpoint else Student(services.engine),
            chosen_pairs(services, limit, seed),
            tau=tau,
            tries=tries,
            workers=settings.teacher_concurrency,
            told=told,
        )
        stopped = found.stopped and budget.used_up()
        found = found.model_copy(update={"paid": budget.paid if endpoint else None, "stopped": stopped})
    show(found, None if as_json else filtered_card(found))
    if found.stopped:
        raise BudgetError(f"{found.stopped}; {many(found.left, 'pair')} left: the same command goes on with them")


@annotate_app.command("list", epilog=examples(LIST, f"{LIST} --limit 100 --json"))
def list_(
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Most annotations.")] = 20,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Show what teachers wrote, the newest first: what, about whom and what, by which teacher, when, and why."""
    from whylike.memory.connection import existing
    from whylike.memory.store import Store as Opened
    from whylike.memory.written import listing
    from whylike.settings import load

    log(verbose)
    with Opened.open(existing(load({"store": store}))) as opened:
        found = listing(opened, limit)
    show(found, None if as_json else listing_card(found))


def _left_out(lines: list[int]) -> str:
    """Which lines of a file of annotations were left out, if any."""
    if not lines:
        return ""
    named = ", ".join(f"{line:,}" for line in lines[:NAMED]) + (" and later ones" if len(lines) > NAMED else "")
    where = f"{'line' if len(lines) == 1 else 'lines'} {named}"
    return f" Left out, since their lists are missing, empty or run together: {many(len(lines), 'row')} ({where})."


def summarized_card(found: Read) -> RenderableType:
    """What a teacher made of reviews, for people."""
    from rich.text import Text

    why = f" ({found.why})" if found.why else ""
    failed = f" For {found.failed:,} no answer came that could be read{why}: the next run asks again."
    if found.unread:
        more = " and others, which --json lists" if len(found.unread) > NAMED else ""
        failed += f" Not readable was what came of {', '.join(found.unread[:NAMED])}{more}."
    empty = f" In {found.empty:,} it found nothing liked or disliked." if found.empty else ""
    return Text(
        plain(
            f"{found.summarized:,} of {found.reviews:,} chosen reviews have a summary by {found.teacher}; it was asked "
            f"about {found.read_now:,} of them now.{empty}{failed if found.failed else ''}{_paid(found.paid)}"
        )
    )


def filtered_card(found: Filtered) -> RenderableType:
    """What became of the search for reasons, for people."""
    from rich.text import Text

    kept = found.kept + found.hinted
    failed = f", {found.failed:,} failed and are tried again by the next run" if found.failed else ""
    return Text(
        plain(
            f"{kept:,} of {found.pairs:,} pairs have a reason, {found.hinted:,} of them with a hint; "
            f"{found.dropped:,} were dropped{failed}; {found.decided_now:,} decided now.\n"
            f"{found.candidates:,} candidates by {found.sampler}, {found.leaked:,} of which might have given the "
            f"rating away; judged by {found.reward}.{_paid(found.paid)}",
            lines=True,
        )
    )


def listing_card(found: Listing) -> RenderableType:
    """What teachers wrote, for people."""
    from rich.text import Text

    entries = [_entry(entry) for entry in found.newest]
    rest = found.annotations - len(entries)
    end = f"{many(rest, 'older annotation')}, which --limit shows." if rest else ""
    return Text("\n\n".join([*entries, end] if end else entries) or "No teacher has written anything yet.")


def _entry(entry: Entry) -> str:
    """One annotation: what, about whom, by whom, when, why, and what the student had written."""
    about = " and ".join(name for name in (entry.user_id, entry.item_id) if name)
    lines = [
        f"{minute(entry.at)} {entry.kind}{f' for {about}' if about else ''} by {entry.teacher}"
        f"{f' ({entry.purpose})' if entry.purpose else ''}",
        f"  {entry.text}",
        f"  since {entry.why}" if entry.why else "",
        f"  in place of: {entry.instead}" if entry.instead else "",
    ]
    return "\n".join(plain(line) for line in lines if line)


def _paid(paid: Paid | None) -> str:
    """What a run took and cost."""
    if not paid or not paid.calls:
        return ""
    cost = "" if paid.cost is None else f", cost {paid.cost:.4f}"
    tokens = f"{paid.tokens:,} tokens, {paid.tokens_in:,} in and {paid.tokens_out:,} out"
    return f" It took {many(paid.calls, 'call')} and {tokens}{cost}."
