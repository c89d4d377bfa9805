"""The commands of `whylike adapters`: which LoRA adapters there are, and which of them answer."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415
from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whylike.dates import day
from whylike.errors import UsageError
from whylike.options import PLAIN, Json, Store, Verbose, WithArguments, examples, show
from whylike.terminal import log, many, messages, plain, results

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.console import RenderableType

    from whylike.adapters.engines.base import Engine
    from whylike.adapters.registry.registry import Details, Listing, Registry
    from whylike.records import AdapterCard

EXAMPLE = "reasoner-3fa9c2d1"
ALONE = "the base model alone"
SAW = (
    "it learned from {users} forgotten since, which its weights cannot undo; `whylike train {expert}` makes one without"
)

adapters_app = typer.Typer(
    help="See, add and promote the experts' adapters.", epilog=examples("whylike adapters list"), **PLAIN
)

ExpertName = Literal["summarizer", "reasoner", "predictor", "reward"]
Version = Annotated[str, typer.Argument(metavar="VERSION", help=f"As `whylike adapters list` shows it: {EXAMPLE}")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who does it. Default: the name of the user.")]


@adapters_app.command("list", epilog=examples("whylike adapters list", "whylike adapters list --json"))
def list_(as_json: Json = False, store: Store = None, verbose: Verbose = 0) -> None:
    """List all adapter versions; those marked live answer."""
    with _registry(store, verbose) as registry:
        listing = registry.listing()
    show(listing, None if as_json else listing_card(listing))


@adapters_app.command("show", cls=WithArguments, epilog=examples(f"whylike adapters show {EXAMPLE}"))
def show_(version: Version, as_json: Json = False, store: Store = None, verbose: Verbose = 0) -> None:
    """Show the card of a version: what it was trained from and how, and when it was live."""
    with _registry(store, verbose) as registry:
        details = registry.details(version)
    show(details, None if as_json else details_card(details))


@adapters_app.command(cls=WithArguments, epilog=examples(f"whylike adapters promote {EXAMPLE}"))
def promote(version: Version, by: By = "", store: Store = None, verbose: Verbose = 0) -> None:
    """Have a version answer for its expert; running processes follow at their next query.

    Where the experts run on a vLLM server that is up, it loads the version first; one that it cannot load is not
    promoted.
    """
    with _registry(store, verbose) as registry, _server(registry) as engine:
        moved = registry.promote(version, by or _somebody(), engine)
    if moved.before == moved.now:
        _say(f"The {moved.expert} answers with {moved.now} already; nothing has changed.")
    else:
        _say(f"The {moved.expert} answers with {moved.now} now; before: {moved.before or ALONE}.")


@adapters_app.command(cls=WithArguments, epilog=examples("whylike adapters rollback reasoner"))
def rollback(
    expert: Annotated[ExpertName, typer.Argument(metavar="EXPERT", help="summarizer, reasoner, predictor or reward.")],
    by: By = "",
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Go back to what answered before the live version was promoted; again, and it goes further back."""
    from whylike.records import Expert

    with _registry(store, verbose) as registry:
        moved = registry.roll_back(Expert(expert), by or _somebody())
    _say(f"The {expert} answers with {moved.now or ALONE} again; before: {moved.before}.")


@adapters_app.command(cls=WithArguments, epilog=examples("whylike adapters add trained/reasoner --expert reasoner"))
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="As PEFT saves an adapter.")],
    expert: Annotated[ExpertName, typer.Option("--expert", metavar="E", help="Whose adapter it is.")],
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Take in an adapter that was trained elsewhere.

    It has to be a plain LoRA adapter of the base model that setting model names. Nothing answers with it until it is
    promoted.
    """
    from whylike.progress import Watch

    with _registry(store, verbose, new=True) as registry, Watch(messages(), "looking at the adapter"):
        from whylike.adapters.registry.registry import card_of
        from whylike.records import Expert, Provenance

        known = card_of(folder)
        if known is not None and known.expert != expert:
            raise UsageError(
                f"the adapter {folder} is one of the {known.expert} by its card, not of the {expert}; "
                f"give --expert {known.expert}"
            )
        new = Provenance(expert=Expert(expert), created_at=int(time.time()), command="whylike adapters add")
        version = registry.add(folder, known or new)
    _say(f"{version} is in the registry; `whylike adapters promote {version}` makes it live.")


def listing_card(listing: Listing) -> RenderableType:
    """All versions, for people."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("version", "live", "created"):
        table.add_column(name, no_wrap=True)
    table.add_column("metrics", overflow="fold")
    for entry in listing.adapters:
        card = entry.card
        live = "live" if entry.live else ""
        shown = (card.version, live, day(card.created_at), _metrics(card.metrics))
        table.add_row(*(Text(plain(each), style="bold" if entry.live else "") for each in shown))
    bare = [expert for expert, version in listing.live.items() if version is None]
    parts: list[RenderableType] = [table] if listing.adapters else [Text("There are no adapters yet.")]
    if bases := sorted({entry.card.base_model for entry in listing.adapters}):
        parts.append(Text(f"Trained on {plain(', '.join(bases))}", style="dim"))
    if bare:
        parts.append(Text(f"With {ALONE}: {', '.join(bare)}", style="dim"))
    return Group(*parts)


def details_card(details: Details) -> RenderableType:
    """All that is known of one version, for people."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from whylike.terminal import Narrow

    card = details.card
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    facts = {
        "expert": card.expert,
        "base model": f"{card.base_model} (hash {card.base_hash[:8]})",
        "content": card.content_hash,
        "data": " ".join(filter(None, (card.data, card.data_hash and f"(hash {card.data_hash})"))) or "not known",
        **({"scales": ", ".join(map(str, card.scales))} if card.scales else {}),
        "parent": _parents(card) or "none",
        "rank": str(card.rank),
        "created": f"{day(card.created_at)} by `{card.command}`",
        "settings": _listed(card.settings) or "not known",
        "environment": _listed(card.environment) or "not known",
        **({"examples": _listed(made_with)} if (made_with := _made_with(card)) else {}),
        "metrics": _metrics(card.metrics) or "not known",
    }
    for name, fact in facts.items():
        rows.add_row(f"  {name}", Text(plain(fact)))
    if details.saw_forgotten:
        rows.add_row("  forgotten", Text(SAW.format(users=many(details.saw_forgotten, "user"), expert=card.expert)))
    for move in details.promotions:
        done = "promoted" if move.kind == "promote" else "rolled back"
        rows.add_row(
            f"  {day(move.promoted_at)}",
            Text(plain(f"{done} by {move.promoted_by}: {move.version or ALONE} answers from then on")),
        )
    marks = [name for name, is_so in (("live", details.live), ("comes with whylike", details.shipped)) if is_so]
    title = f"{card.version} ({', '.join(marks)})" if marks else card.version
    return Narrow(Group(Text(plain(title), style="bold"), rows))


@contextmanager
def _registry(store: Path | None, verbose: int, *, new: bool = False) -> Generator[Registry]:
    """The registry of the store that the settings name; only a `new` one, or that of the home, may not be there yet."""
    from whylike.adapters.registry.registry import Registry
    from whylike.memory.connection import existing
    from whylike.memory.store import Store as Truth
    from whylike.settings import load, origin

    log(verbose)
    settings = load({"store": store})
    if not new and origin("store", {"store": store}) != "default":
        existing(settings)
    with Truth.open(settings) as truth:
        yield Registry(settings, truth)


@contextmanager
def _server(registry: Registry) -> Generator[Engine | None]:
    """The engine on the vLLM server, where the settings name that engine and the server is up."""
    from contextlib import closing

    from whylike.adapters.engines import open_engine
    from whylike.adapters.server import status

    if registry.settings.engine != "vllm" or not status(registry.settings).healthy:
        yield None
        return
    with closing(open_engine(registry.settings, registry.live())) as engine:
        yield engine


def _say(sentence: str) -> None:
    results().print(plain(sentence), soft_wrap=True)


def _somebody() -> str:
    """Who runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container a user may have no name
        return f"user {os.getuid()}"


def _parents(card: AdapterCard) -> str:
    """What a training went on from, nearest first."""
    made = {each.version: f"{each.version} by `{each.command}`" for each in reversed(card.ancestors)}
    return ", which went on from ".join(made.values()) or card.parent or ""


def _made_with(card: AdapterCard) -> dict[str, JsonValue]:
    """How the examples were made; when the newest of them was written as a day."""
    until = card.made_with.get("learned_until")
    return {**card.made_with, **({"learned_until": day(until)} if isinstance(until, int) else {})}


def _listed(facts: Mapping[str, JsonValue]) -> str:
    return ", ".join(
        f"{name} {fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)}"
        for name, fact in facts.items()
    )


def _metrics(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
