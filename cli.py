"""The command line: parses, calls and prints.

Results go to standard output, everything else to standard error. What is heavy is imported inside the commands, so that
`whylike --help` is there at once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack, suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from whylike import __version__, interrupt
from whylike.adapters_cli import adapters_app
from whylike.annotate_cli import annotate_app
from whylike.bench_cli import bench_app
from whylike.chat_cli import EXAMPLE as CHAT
from whylike.chat_cli import chat
from whylike.dates import day
from whylike.errors import InputError, NotFoundError, UsageError, WhylikeError
from whylike.evaluate_cli import evaluate_app
from whylike.learn_cli import learn_app
from whylike.options import (
    PLAIN,
    Engine,
    Json,
    Store,
    Verbose,
    WithArguments,
    as_option,
    confirm,
    examples,
    identified,
    show,
)
from whylike.profile_cli import profile_app
from whylike.teach_cli import EXAMPLES, train
from whylike.terminal import fail, log, messages, plain, results
from whylike.vllm_cli import vllm_app

if TYPE_CHECKING:
    from whylike.records import Review
    from whylike.settings import Settings


class Commands(typer.core.TyperGroup):
    """The commands, whose errors are told in one sentence."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer keeps the type of its contexts to itself
        """Run a command; `WhylikeError` ends with status 2 where the user can mend what was given, else with 1."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that has gone away is noticed here, where typer hushes it
        except WhylikeError as error:
            fail(str(error))
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
        return result


app = typer.Typer(
    name="whylike",
    cls=Commands,
    help="Why would I like this? Explained ratings from what people wrote.",
    epilog=examples("whylike demo"),
    **PLAIN,
)


def _group(name: str, help_: str, example: str) -> typer.Typer:
    """A noun, for the verbs on it."""
    group = typer.Typer(help=help_, epilog=examples(example), **PLAIN)
    app.add_typer(group, name=name)
    return group


EXPLAIN = "whylike explain --user ann --item the-thing-1982"
REMOVE = "whylike review remove --user ann --item the-thing-1982"
ADD = "whylike review add --user ann --item the-thing-1982 --rating 5 --text Fun"
MOMENT = "seconds since 1970, or ISO 8601."
TIME = f"{MOMENT} Default: now."

review_app = _group("review", "Add and remove single reviews.", ADD)
index_app = _group("index", "Look after the index of vectors.", "whylike index rebuild")
app.add_typer(adapters_app, name="adapters")
app.add_typer(annotate_app, name="annotate")
app.add_typer(bench_app, name="bench")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(learn_app, name="learn")
app.add_typer(profile_app, name="profile")
app.add_typer(vllm_app, name="vllm")
app.command(cls=WithArguments, epilog=EXAMPLES["train"])(train)
app.command(epilog=CHAT)(chat)

User = Annotated[str, typer.Option("--user", metavar="U", help="Id of the user.")]
ItemId = Annotated[str, typer.Option("--item", metavar="I", help="Id of the item.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Why would I like this? Explained ratings from what people wrote."""
    if version:
        typer.echo(f"whylike {__version__}")
        raise typer.Exit


@app.command(epilog=examples("whylike demo"))
def demo(store: Store = None, verbose: Verbose = 0) -> None:
    """Explain three pairs of a small invented corpus.

    The reviews go into a store of their own: --store, else the folder demo in the usual store. A second run reuses what
    the first one worked out.
    """
    from whylike.progress import Watch

    settings = _settings(store, verbose)
    # Invented reviews have no business in a database that is shared.
    own = {"store": store or settings.store / "demo", "database_url": None, "chroma_url": None}
    settings = settings.model_copy(update=own)
    packaged = resources.as_file(resources.files("whylike.memory").joinpath("demo_corpus"))
    out, began = results(), time.monotonic()
    with packaged as corpus, ExitStack() as stack:
        with Watch(messages(), "reading the demo corpus") as watch:
            from whylike.card import DEMO, card, demo_card
            from whylike.graph.pair import Services, explain
            from whylike.memory.ingest import ingest

            services = stack.enter_context(Services.open(settings, told=watch.index))
            ingest(services.store, corpus / "reviews.jsonl", items_file=corpus / "items.jsonl", progress=watch.file)
        seconds = {"starting and reading the corpus": time.monotonic() - began}
        out.print(DEMO)
        for pair in json.loads((corpus / "pairs.json").read_text(encoding="utf-8")):
            began = time.monotonic()
            with Watch(messages(), "loading the model") as watch:
                explanation = explain(services, pair["user_id"], pair["item_id"], on_event=watch.event)
            seconds[f"{pair['user_id']} and {pair['item_id']}"] = time.monotonic() - began
            out.print(card(explanation, services.store.item, pair["why"]))
    out.print(demo_card(seconds, settings.store), soft_wrap=True)


@app.command(
    cls=WithArguments,
    epilog=examples("whylike ingest reviews.jsonl --items items.jsonl", "whylike ingest ratings.csv --scale 0.5:5:0.5"),
)
def ingest(
    reviews: Annotated[Path, typer.Argument(metavar="REVIEWS", help="File of reviews, plain or gzip.")],
    items: Annotated[Path | None, typer.Option(metavar="FILE", help="File of items: titles, descriptions.")] = None,
    format_: Annotated[
        Literal["auto", "jsonl", "csv", "amazon2014", "amazon2023", "yelp", "exp3rt"],
        typer.Option("--format", help="Format of the reviews; auto tells it from the first rows."),
    ] = "auto",
    scale: Annotated[
        str | None, typer.Option(metavar="MIN:MAX[:STEP]", help="The ratings' scale. Default: 1:5.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Read reviews, and the items that they are about, into the store.

    Bad rows go to a file with the reason for each, the others into the store. A second run of a file changes nothing.
    """
    from whylike.card import ingest_card
    from whylike.memory.ingest import ingest as ingest_files
    from whylike.memory.store import Store as Truth
    from whylike.progress import Watch
    from whylike.records import RatingScale

    wanted = RatingScale.parse(scale) if scale is not None else None
    began = time.monotonic()
    with Truth.open(_settings(store, verbose)) as truth, Watch(messages(), f"opening {reviews.name}") as watch:
        report = ingest_files(
            truth, reviews, items_file=items, format=format_, scale=wanted, strict=strict, progress=watch.file
        )
        counts = truth.counts()
    results().print(ingest_card(report, counts, time.monotonic() - began), soft_wrap=True)
    if report.reviews.rows and report.reviews.rejected == report.reviews.rows:
        mend = report.other_scale or "mend the rows and run the same command again"
        raise InputError(
            f"{reviews}: none of its {report.reviews.rows:,} rows could be taken; "
            f"the reasons are in {report.reviews.rejects}; {mend}"
        )
    if report.other_scale:
        fail(f"{reviews}: {report.other_scale}")


@app.command(epilog=examples(EXPLAIN, f"{EXPLAIN} --json"))
def explain(
    user: User,
    item: ItemId,
    as_json: Json = False,
    no_reason: Annotated[bool, typer.Option("--no-reason", help="Only the rating: faster.")] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=f"Leave out what came later: {MOMENT} Default: just before the user's own review, else now.",
        ),
    ] = None,
    item_profile: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Which reviews of the item to go by: all, helpful (most votes first), neighbours (by the three users "
            "most like this one); else WHYLIKE_ITEM_PROFILE, else all.",
        ),
    ] = None,
    teacher: Annotated[
        bool | None,
        typer.Option(
            "--teacher/--no-teacher",
            show_default=False,
            help="Whether to ask the teacher where the student is unsure; else WHYLIKE_TEACHER_LIVE, else not.",
        ),
    ] = None,
    engine: Engine = None,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Say what a user would rate an item, how sure that is, and why."""
    from whylike.memory.connection import existing
    from whylike.progress import Watch

    user, item = identified("--user", user), identified("--item", item)
    before = _moment("--as-of", as_of) if as_of is not None else None
    settings = existing(_settings(store, verbose, engine=engine, item_profile=item_profile))
    if teacher:
        from whylike.agents.endpoint import Endpoint

        Endpoint.open(settings)  # who asks for a teacher is told at once that there is none
    with Watch(messages(), "loading the model") as watch:
        from whylike.card import card
        from whylike.graph.pair import Services
        from whylike.graph.pair import explain as explain_pair

        with Services.open(settings, told=watch.index) as services:
            explanation = explain_pair(
                services,
                user,
                item,
                as_of=before,
                with_reason=not no_reason,
                teacher=teacher,
                on_event=watch.event,
            )
            rendered = None if as_json else card(explanation, services.store.item, with_reason=not no_reason)
    show(explanation, rendered)


@review_app.command(epilog=examples(ADD))
def add(
    user: User,
    item: ItemId,
    rating: Annotated[str, typer.Option(metavar="R", help="On the store's rating scale.")],
    text: Annotated[str, typer.Option(metavar="TEXT", help="What the user wrote.")],
    title: Annotated[str, typer.Option(metavar="TITLE", help="The review's title.")] = "",
    at: Annotated[str | None, typer.Option(metavar="TIME", help=f"When it was written: {TIME}")] = None,
    helpful: Annotated[int, typer.Option(metavar="N", min=0, help="How many found it helpful.")] = 0,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Add one review; the next answer about its user or its item takes it into account."""
    from rich.text import Text

    from whylike.memory.importers.columns import ReviewColumns
    from whylike.memory.importers.values import Levels
    from whylike.memory.nearest import alike
    from whylike.memory.store import Store as Truth
    from whylike.records import Added, Review, Side

    # The options are read as the columns of a file are, so that the same is allowed in both.
    columns = ReviewColumns(
        user_id="--user",
        item_id=("--item",),
        rating="--rating",
        text="--text",
        timestamp=("--at",),
        title=("--title",),
        helpful=("--helpful",),
    )
    ids = {"--user": user, "--item": item}
    said = {"--rating": rating, "--title": title, "--text": text, "--helpful": helpful}
    when = {"--at": int(time.time()) if at is None else at}
    with Truth.open(_settings(store, verbose)) as truth:
        with as_option():
            (review,) = columns.reader(Levels(scale := truth.scale), "")(ids | said | when)
        assert isinstance(review, Review)  # the columns are those of one
        known = truth.item(review.item_id)
        if known is None and (near := alike(truth, Side.ITEM, review.item_id)):
            fail(f"{review.item_id!r} is an item new to the store, which has one like it: {near}")
        earlier = truth.pair_reviews(review.user_id, review.item_id)
        # Without a time, the same said again is no second review.
        same = next((each for each in earlier if at is None and _says(each) == _says(review)), None)
        added = 0 if same else truth.add_reviews([review], scale=scale)
    what = known.name if known else f"{review.item_id}, an item new to the store"
    before = f"; this user's review of it number {len(earlier) + 1}" if earlier else ""
    done = f"added: {review.user_id} gave {review.rating:g} to {what}{before}" if added else "was there already"
    stored = same or review
    document = Added(
        review_id=stored.review_id,
        user_id=stored.user_id,
        item_id=stored.item_id,
        rating=stored.rating,
        added=bool(added),
        new_item=known is None,
    )
    show(document, None if as_json else Text(plain(f"Review {stored.review_id} {done}.")))


@review_app.command(epilog=examples(REMOVE, f"{REMOVE} --yes --json"))
def remove(
    user: User,
    item: ItemId,
    review: Annotated[
        str | None, typer.Option(metavar="ID", help="Which, where there are several. Default: the newest.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Remove one review for good, after showing it and asking.

    With it goes what may quote it: its summary, vectors, kept answers, profiles, what teachers wrote of it, unfinished
    trainings, and its user's conversations. It is refused when the same file is read again. Adapters that learned from
    its user are listed: their weights cannot be made to forget.
    """
    from rich.text import Text

    from whylike.memory.nearest import not_found
    from whylike.memory.store import Store as Truth
    from whylike.progress import Watch
    from whylike.records import Side

    who, what = identified("--user", user), identified("--item", item)
    settings = _settings(store, verbose)
    with Truth.open(settings) as truth:
        if not truth.has_user(who):
            raise not_found(truth, Side.USER, who)
        if truth.item(what) is None:
            raise not_found(truth, Side.ITEM, what)
        known = [each for each in truth.pair_reviews(who, what) if review in {None, each.review_id}]
        if not known:
            which = "" if review is None else f" with the id {review!r}"
            raise NotFoundError(f"{who} has no review of {what}{which} in the store; there is nothing to remove")
        gone = known[0]
        shown = f"{who} gave {what} {gone.rating:g} on {day(gone.timestamp)} ({gone.review_id}): “{gone.text}”"
        messages().print(plain(shown), soft_wrap=True)
        confirm("Remove this review?", "removing a review", yes=yes)
        with Watch(messages(), "removing") as watch:
            from whylike.graph import forgetting

            found = forgetting.remove(settings, truth, gone, watch.index)
    show(found, None if as_json else Text(plain(forgetting.told(found))))


def _says(review: Review) -> tuple[float, str, str]:
    return review.rating, review.title, review.text


@index_app.command(epilog=examples("whylike index rebuild"))
def rebuild(store: Store = None, verbose: Verbose = 0) -> None:
    """Make the index of vectors again from the store."""
    from whylike.memory.connection import existing
    from whylike.memory.store import Store as Truth
    from whylike.progress import Watch

    settings = existing(_settings(store, verbose))
    with Truth.open(settings) as truth, Watch(messages(), "opening the index") as watch:
        from whylike.memory.embeddings import Embedder
        from whylike.memory.index import Index

        with Index.open(settings, truth, Embedder(), watch.index, anew=True) as index:
            made = index.count()
    results().print(f"The index is rebuilt from the store: {made:,} vectors.")


@app.command(epilog=examples("whylike doctor", "whylike doctor --json"))
def doctor(as_json: Json = False, store: Store = None, verbose: Verbose = 0) -> None:
    """Show every setting, what is missing, and how to mend it; status 1 where something that is needed is missing."""
    from whylike.doctor import examine, report

    log(verbose)
    diagnosis = examine({"store": store})
    show(diagnosis, None if as_json else report(diagnosis))
    if not diagnosis.ok:
        raise typer.Exit(1)


def _settings(store: Path | None, verbose: int, **flags: str | None) -> Settings:
    from whylike.settings import load

    log(verbose)
    return load({"store": store, **flags})


def _moment(option: str, text: str) -> int:
    """The seconds since 1970 that an option gives."""
    from whylike.memory.importers.values import moment

    with as_option():
        return moment(text, option)


def main() -> None:
    """Run the command line; Ctrl-C ends it with status 130, a result that cannot be written with 1."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it stays open
    if sys.stdout is None:
        fail(f"standard output is closed; send the result to a file, or to {os.devnull} where it is not wanted")
        sys.exit(1)
    interrupt.watch()
    try:
        app(prog_name="whylike")
    except KeyboardInterrupt:
        interrupt.leave()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails again when it ends
        what = error.filename or "the result cannot be written"
        with suppress(OSError):
            why = error.strerror or error
            fail(f"{what}: {why}; mend that or send the result elsewhere, and run the command again")
        sys.exit(1)


if __name__ == "__main__":
    main()
