"""`whylike profile`: what reviews add up to, and what is stored about a user, who may have it removed."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415, PLR0917
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from whylike.dates import day
from whylike.errors import NotFoundError, UsageError
from whylike.options import PLAIN, Json, Store, Verbose, confirm, examples, identified, show
from whylike.terminal import log, messages, plain, results

if TYPE_CHECKING:
    from rich.console import RenderableType

    from whylike.graph.forgetting import Forgetting
    from whylike.records import Preference

SHOW = "whylike profile show --user ann"
EDIT = "whylike profile edit --user ann --like 'long films'"
FORGET = "whylike profile forget --user ann"
READMIT = "whylike profile readmit --user ann"
WILL = (
    "All of that is removed, and what was made from it: answers that may quote it, vectors, unfinished trainings. "
    "Reviews of this user are not taken in any more, until `whylike profile readmit`. There is no way back."
)

profile_app = typer.Typer(
    help="See what reviews add up to, and what is stored about a user.", epilog=examples(SHOW), **PLAIN
)

User = Annotated[str, typer.Option("--user", metavar="U", help="Id of the user.")]


@profile_app.command("show", epilog=examples(SHOW, "whylike profile show --item the-thing-1982"))
def show_(
    user: Annotated[str | None, typer.Option(metavar="U", help="Id of a user.")] = None,
    item: Annotated[str | None, typer.Option(metavar="I", help="Id of an item.")] = None,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Show the profile of a user or of an item as of now, from the newest reviews; one that was kept is used again.

    Of a user it is told how much is stored in all.
    """
    from whylike.agents.stated import OF_ITSELF
    from whylike.card import profile_card
    from whylike.memory.connection import existing
    from whylike.memory.nearest import not_found
    from whylike.memory.store import Store as Truth
    from whylike.progress import Watch
    from whylike.records import Profile, Side
    from whylike.settings import load

    if (user is None) == (item is None):
        raise typer.BadParameter("give either --user or --item")
    side = Side.USER if user is not None else Side.ITEM
    subject = identified(f"--{side}", user or item or "")
    log(verbose)
    settings = existing(load({"store": store}))
    with Truth.open(settings) as truth:
        known = truth.item(subject) if side is Side.ITEM else None
        if known is None and not (side is Side.USER and truth.has_user(subject)):
            raise not_found(truth, side, subject)
    with Watch(messages(), "opening the store") as watch:
        from whylike.graph.profiles import Shown, named, profile_now, read_for
        from whylike.graph.services import Services

        with Services.open(settings, told=watch.index) as services:
            profile = profile_now(services, side, subject, watch.event)
    with Truth.open(settings) as truth:
        if profile is None:  # there are no reviews, but it may have been imported
            profile = truth.latest_profile(side, subject)
        told = truth.preferences(subject) if side is Side.USER else []
    if profile is None and told:
        profile = Profile(side=side, subject_id=subject, adapter_version=OF_ITSELF)
    if profile is None:
        raise NotFoundError(
            f"there are no reviews {'by' if side is Side.USER else 'of'} {subject!r} to make a profile from; "
            "add some with `whylike review add` or `whylike ingest`"
        )
    with Truth.open(settings) as truth:
        stored = truth.held(subject) if side is Side.USER else None
        shown = Shown(**dict(profile), said=told, stored=stored)
        if as_json:
            show(shown, None)
            return
        said = named(truth, side, read_for(truth, profile, settings.history))
    show(shown, profile_card(profile, known.name if known else subject, said))
    for each in told:
        _say(_stated(each))
    if stored is not None:
        _say(f"Stored about this user: {_listed(stored)}; `whylike profile forget` removes it all.")


@profile_app.command(epilog=examples(EDIT, f"{EDIT} --dislike gore --json"))
def edit(
    user: User,
    like: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="What the user likes. May be repeated.")
    ] = None,
    dislike: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="What they dislike. May be repeated.")
    ] = None,
    dont_mind: Annotated[
        list[str] | None,
        typer.Option("--dont-mind", metavar="TEXT", help="What they do not mind. May be repeated."),
    ] = None,
    withdraw: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="What they said and take back. May be repeated.")
    ] = None,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Note what a user says of their own taste, or takes back; it counts for more than what their reviews suggest.

    Something about the same takes the place of what was said before. Without options it shows what was said.
    """
    from rich.text import Text

    from whylike.graph.profiles import edit as edit_profile
    from whylike.memory.connection import existing
    from whylike.memory.embeddings import Embedder
    from whylike.memory.nearest import not_found
    from whylike.memory.store import Store as Truth
    from whylike.progress import Watch
    from whylike.records import Attitude, Side
    from whylike.settings import load

    subject = identified("--user", user)
    given = {Attitude.LIKE: like, Attitude.DISLIKE: dislike, Attitude.INDIFFERENT: dont_mind}
    new = [(attitude, _about(text)) for attitude, texts in given.items() for text in texts or ()]
    abouts = [about.casefold() for _, about in new]
    if twice := next((about for _, about in new if abouts.count(about.casefold()) > 1), None):
        raise UsageError(f"{twice!r} is given more than once; say once whether they like, dislike or do not mind it")
    log(verbose)
    with Truth.open(existing(load({"store": store}))) as truth, Watch(messages(), "noting"):
        if not truth.has_user(subject):
            raise not_found(truth, Side.USER, subject)
        found = edit_profile(truth, Embedder(), subject, new, withdraw or ())
    lines = [_stated(each) for each in found.said] or [f"{subject} has said nothing of their own taste."]
    show(found, None if as_json else Text(plain("\n".join(lines), lines=True)))


@profile_app.command(epilog=examples(FORGET, f"{FORGET} --yes --json"))
def forget(
    user: User,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Remove all that is stored about a user, after showing how much that is and asking.

    Reviews, summaries, profiles, kept answers, what teachers wrote of them, vectors and rated pairs go, and so do
    answers to others that may quote them; then the store's files are written anew, so that nothing is left in them.
    What is kept is a mark by which the store knows the user again, and the date: from then on reviews of this user are
    refused, until `whylike profile readmit`. Adapters that learned from them are listed: their weights cannot be made
    to forget. Of a run that was cut off the same command does the rest.
    """
    from whylike.memory.connection import existing
    from whylike.memory.nearest import not_found
    from whylike.memory.store import Store as Truth
    from whylike.progress import Watch
    from whylike.records import Side
    from whylike.settings import load

    subject = identified("--user", user)
    log(verbose)
    settings = existing(load({"store": store}))
    with Truth.open(settings) as truth:
        away, held = truth.forgotten_at(subject), truth.held(subject)
        there = truth.has_user(subject) or any(held.values())
        if not there and away is None:
            raise not_found(truth, Side.USER, subject)
        if there:
            messages().print(plain(f"Stored about {subject}: {_listed(held)}."), WILL, sep="\n", soft_wrap=True)
            confirm("Forget this user?", "forgetting a user", yes=yes)
        with Watch(messages(), "forgetting") as watch:
            from whylike.graph.forgetting import forget as forget_user
            from whylike.graph.forgetting import forgotten_before

            done = forget_user if there else forgotten_before
            found = done(settings, truth, subject, watch.index)
    show(found, None if as_json else forgotten_card(found, away if not there else None))


@profile_app.command(epilog=examples(READMIT))
def readmit(user: User, as_json: Json = False, store: Store = None, verbose: Verbose = 0) -> None:
    """Let a user who was forgotten come back: new reviews are taken in again, and nothing of the old is there."""
    from rich.text import Text

    from whylike.memory.connection import existing
    from whylike.memory.store import Store as Truth
    from whylike.records import Readmitted
    from whylike.settings import load

    subject = identified("--user", user)
    log(verbose)
    with Truth.open(existing(load({"store": store}))) as truth:
        if not truth.readmit(subject):
            raise NotFoundError(f"no user {subject!r} was forgotten in this store; there is nobody to readmit")
    show(Readmitted(user_id=subject), None if as_json else Text(plain(f"Reviews of {subject} are taken in again.")))


def forgotten_card(found: Forgetting, before: int | None) -> RenderableType:
    """What was removed of a user, and which adapters had learned from it, for people."""
    from rich.text import Text

    if before is None:
        lines = [f"{found.user_id} is forgotten: {_listed(found.removed)} removed."]
    else:
        lines = [f"{found.user_id} was forgotten on {day(before)}; nothing is stored."]
    if found.adapters:
        lines.append("Adapters learned from this user, and their weights cannot be made to forget:")
        for each in found.adapters:
            state = "live" if each.live else "was live" if each.was_live else "never live"
            lines.append(f"  {each.version} ({state}): `{each.retrain}` trains one without")
    return Text(plain("\n".join(lines), lines=True))


def _about(text: str) -> str:
    """What somebody says of their taste, as it may be kept."""
    from whylike.agents.attitudes import LONGEST
    from whylike.agents.prompting import one_line

    about = one_line(plain(text))
    if not any(char.isalnum() for char in about) or len(about.split()) > LONGEST:
        raise UsageError(f"{text!r} says nothing that can be noted; give 1 to {LONGEST} words, such as 'long films'")
    return about


def _stated(said: Preference) -> str:
    """What a user said, with its id."""
    from whylike.agents.attitudes import told_of

    return f"Said on {day(said.stated_at)}: {told_of(said)} ({said.preference_id})."


def _listed(held: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in held.items() if count) or "nothing"


def _say(sentence: str) -> None:
    results().print(plain(sentence), soft_wrap=True)
