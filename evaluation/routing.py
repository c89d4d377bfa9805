"""Whether the turns of a conversation are told apart: accuracy on labelled utterances that the router never saw."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from pydantic import Field
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from whylike.agents.finding import named
from whylike.agents.turns import Turn, TurnRouter, Utterance, bracketed, labelled, utterances
from whylike.errors import InputError
from whylike.evaluation.resampling import Estimate, estimate
from whylike.memory.embeddings import Embedder
from whylike.memory.store import Store
from whylike.records import Item, Record
from whylike.settings import Settings
from whylike.terminal import plain

SHOWN = 12
"""Mistakes that the table shows."""


class Mistake(Record):
    """An utterance that goes the wrong way."""

    text: str
    turn: Turn
    routed: Turn
    asked: bool = Field(description="Whether the user would have been asked first")


class Share(Record):
    """How many of one kind go the right way."""

    utterances: int
    right: int


class RoutingEvaluation(Record):
    """The document that `whylike evaluate routing --json` prints."""

    utterances: int
    learned: int = Field(description="Utterances that the router was taught with, none of them among those measured")
    accuracy: Estimate
    accuracy_unnamed: Estimate = Field(description="The same where the store has none of the items that are named")
    asked: float = Field(description="Share of which the router is not sure, so that it asks")
    accuracy_sure: float = Field(description="Accuracy on the others")
    turns: dict[Turn, Share]
    mistakes: list[Mistake]


def evaluate_routing(settings: Settings, file: Path | None = None) -> RoutingEvaluation:
    """Route labelled utterances, in a store that has the items that they name, and in one that has not.

    What the router was taught with is left out (“hi” is “hi”, whoever writes it).

    Args:
        settings: Where what is made once is kept.
        file: The utterances; those that come along where it is None.

    Raises:
        InputError: The file cannot be read as such.
    """
    embedder = Embedder()
    learned = utterances()
    known = {_plain(each.text) for each in learned}
    held_out = [row for row in _read(file) if _plain(row[0].text) not in known]
    if not held_out:
        raise InputError(f"{file} has no utterance that the router was not taught with; give others")
    router = TurnRouter(embedder, settings.cache)
    with TemporaryDirectory() as folder, Store.open(settings.model_copy(update=_aside(Path(folder)))) as store:
        store.add_items(Item(item_id=name, title=name) for name in {name for _, names in held_out for name in names})
        routed = [
            router.route(each.text, [(found.start, found.end) for found in named(store, each.text)])
            for each, _ in held_out
        ]
    unnamed = [router.route(each.text) for each, _ in held_out]
    right = [found.turn is each.turn for found, (each, _) in zip(routed, held_out, strict=True)]
    right_unnamed = [found.turn is each.turn for found, (each, _) in zip(unnamed, held_out, strict=True)]
    sure = [good for good, found in zip(right, routed, strict=True) if found.sure]
    kinds = {
        turn: [good for good, (each, _) in zip(right, held_out, strict=True) if each.turn is turn] for turn in Turn
    }
    return RoutingEvaluation(
        utterances=len(held_out),
        learned=len(learned),
        accuracy=_accuracy(right),
        accuracy_unnamed=_accuracy(right_unnamed),
        asked=round(1 - len(sure) / len(right), 4),
        accuracy_sure=round(sum(sure) / max(len(sure), 1), 4),
        turns={turn: Share(utterances=len(found), right=sum(found)) for turn, found in kinds.items() if found},
        mistakes=[
            Mistake(text=each.text, turn=each.turn, routed=found.turn, asked=not found.sure)
            for good, found, (each, _) in zip(right, routed, held_out, strict=True)
            if not good
        ],
    )


def routing_card(found: RoutingEvaluation) -> RenderableType:
    """The document for people."""
    rows = Table(box=None, padding=(0, 2), header_style="bold")
    rows.add_column("asks for")
    rows.add_column("utterances", justify="right")
    rows.add_column("right", justify="right")
    for turn, share in found.turns.items():
        rows.add_row(turn.value, str(share.utterances), str(share.right))
    head = (
        f"{found.accuracy.value:.1%} of {found.utterances:,} utterances go the right way "
        f"({found.accuracy.low:.1%} to {found.accuracy.high:.1%}); taught with {found.learned:,} others.\n"
        f"Where the store has none of the items that they name: {found.accuracy_unnamed.value:.1%}. "
        f"Asked about first: {found.asked:.1%}; of the others {found.accuracy_sure:.1%} are right."
    )
    wrong = [
        f"  “{plain(each.text)}”: {each.turn}, taken for {each.routed}{' (would have asked)' if each.asked else ''}"
        for each in found.mistakes[:SHOWN]
    ]
    rest = len(found.mistakes) - len(wrong)
    told = [*wrong, *([f"  and {rest} more, which --json lists"] if rest else [])]
    return Group(
        Text(head), Text(""), rows, Text(""), Text("\n".join(["Mistakes:", *told]) if told else "No mistakes.")
    )


def _plain(text: str) -> str:
    """An utterance without what does not tell it from another."""
    return " ".join(re.findall(r"\w+", text.lower())) or text


def _aside(folder: Path) -> dict[str, object]:
    return {"store": folder, "database_url": None, "chroma_url": None}


def _accuracy(right: list[bool]) -> Estimate:
    return estimate(len(right), lambda rows: sum(right[row] for row in rows) / len(rows), seed=0)


def _read(file: Path | None) -> list[tuple[Utterance, list[str]]]:
    """The utterances, each with the items that it names."""
    try:
        if file is None:
            text = resources.files("whylike.evaluation").joinpath("utterances.yaml").read_text(encoding="utf-8")
        else:
            text = file.read_text(encoding="utf-8")
        listed = yaml.safe_load(text)
        found = list(zip(labelled(listed), bracketed(listed), strict=True))
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        raise InputError(
            f"{file} cannot be read as labelled utterances ({error}); give YAML with a list of texts under each of "
            f"{', '.join(Turn)}"
        ) from None
    if not found:
        raise InputError(f"{file} has no utterances; give YAML with a list of texts under each of {', '.join(Turn)}")
    return found
