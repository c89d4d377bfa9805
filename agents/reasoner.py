"""The Reasoner: why this user would or would not like this item, in a few sentences that rest on reviews.

The untaught base model writes fluent nonsense when it is left free, so what it may write is held by a grammar: one
sentence a point (`agents.matching`), the reviewers' own words in quotation marks, the turn of phrase left to the model.
No sentence can mention a rating, reveal the profile, or claim what nobody wrote: where tastes meet, both sides are
quoted, so that the reader can judge. An adapter that was taught writes freely, from a plan (`agents.plans`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from whylike.adapters.engines.base import Engine, Writing, Written
from whylike.agents import matching, plans
from whylike.agents.matching import POSITIVE, Kind, Point
from whylike.agents.plans import Stance, stance
from whylike.agents.prompting import one_line, prompt_file, render
from whylike.agents.recipe import constants, recipe
from whylike.records import Expert

LONGEST = 160
"""Characters of a quality or an item's title at most; a longer one is cut, so that every reason can be finished."""

_LEADS = {
    Stance.FOR: (
        "This should suit the user",
        "The user would probably enjoy it",
        "There is something here for the user",
    ),
    Stance.AGAINST: ("This is unlikely to suit the user", "The user would probably be disappointed"),
    Stance.MIXED: ("This could go either way for the user", "It is hard to say how the user would take it"),
}
_NEWCOMER = ("The user has written no reviews yet, so only others can be heard",)
_SECOND = ("on the bright side", "on the other hand")
"""How only a later sentence may begin."""
_TURNS: dict[Kind, tuple[str, ...]] = {
    Kind.DRAW: (
        "one reviewer writes “{quality}”, and of {item} the user wrote “{taste}”",
        "somebody speaks of “{quality}”, which is close to what the user liked about {item}, “{taste}”",
        "what is said here, “{quality}”, recalls what the user wrote about {item}, “{taste}”",
        "among what others like is “{quality}”, and in {item} the user liked “{taste}”",
    ),
    Kind.CLASH: (
        "somebody complains “{quality}”, and of {item} the user wrote “{taste}”",
        "one reviewer says “{quality}”, which is close to what the user disliked about {item}, “{taste}”",
        "one complaint, “{quality}”, recalls what the user held against {item}, “{taste}”",
        "among what others dislike is “{quality}”, and in {item} the user disliked “{taste}”",
    ),
    Kind.PRECEDENT_FOR: (
        "of what the user has reviewed lately {item} comes closest, and that was a success",
        "the nearest thing among the user's latest reviews is {item}, and it went down well",
    ),
    Kind.PRECEDENT_AGAINST: (
        "of what the user has reviewed lately {item} comes closest, and that was a disappointment",
        "the nearest thing among the user's latest reviews is {item}, and it did not go down well",
    ),
    Kind.PRAISE: (
        "one reviewer praises it with the words “{quality}”",
        "what somebody likes about it is “{quality}”",
        "on the bright side, “{quality}”, as one reviewer has it",
        "to its credit somebody writes “{quality}”",
    ),
    Kind.FAULT: (
        "one reviewer complains “{quality}”",
        "a warning from one reviewer reads “{quality}”",
        "on the other hand, “{quality}”, as one reviewer has it",
        "what somebody dislikes about it is “{quality}”",
    ),
}
_PROFILED = {
    Kind.DRAW: ("one reviewer writes", "its profile says"),
    Kind.CLASH: ("somebody complains", "its profile warns of"),
}
"""Where an imported profile has a part: what leads to a reviewer's words, and what to the profile's."""
OWN_WORDS = frozenset(
    word
    for turn in (
        *(lead for leads in (*_LEADS.values(), _NEWCOMER) for lead in leads),
        *(one for each in _TURNS.values() for one in each),
    )
    for word in re.findall(r"\w+", re.sub(r"{\w+}", " ", turn.lower()))
)
"""The words of the sentences themselves, in lower case: that a review has them too says nothing."""


class Reasoner:
    """Asks the reasoner expert of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def version(self) -> str:
        """The adapter version that writes a reason now."""
        return self._engine.adapter_version(Expert.REASONER)

    @property
    def mark(self) -> str:
        """The version and the recipe: a reason that was written by another recipe is stale."""
        prompts = [prompt_file(name).model_dump(mode="json") for name in ("reason", "taught_reason")]
        modules = [constants(module) for module in (sys.modules[__name__], matching, plans)]
        return f"{self.version}+{recipe(prompts, modules, _LEADS, _NEWCOMER, _TURNS, _PROFILED)}"

    @property
    def taught(self) -> bool:
        """Whether an adapter answers, which was trained to put a plan into sentences."""
        return Expert.REASONER.taught(self.version)

    def request(self, points: Sequence[Point], balance: float, names: Mapping[str, str], *, newcomer: bool) -> Writing:
        """What the expert is asked: the points in a prompt, and the grammar that holds the answer to them.

        Args:
            points: What the reason has to say, in this order.
            balance: How far they speak for or against the item.
            names: For each review by this user what its item is called.
            newcomer: Whether the user has no reviews.
        """
        pros = [point.quality for point in points if point.kind in {Kind.DRAW, Kind.PRAISE}]
        cons = [point.quality for point in points if point.kind in {Kind.CLASH, Kind.FAULT}]
        told = " ".join(
            f"{side}: {', '.join(f'“{quoted(quality)}”' for quality in listed)}."
            for side, listed in (("For", pros), ("Against", cons))
            if listed
        )
        grammar, longest = _grammar(points, _NEWCOMER if newcomer else _LEADS[stance(balance)], names)
        return Writing(
            expert=Expert.REASONER,
            prompt=render("reason", points=told or "Nothing is known."),
            max_tokens=longest,
            grammar=grammar,
        )

    def write(self, request: Writing, on_text: Callable[[str], None]) -> Written:
        """Write the reason, telling `on_text` each piece. Raises `EngineError`."""
        return self._engine.stream(request, on_text)


def quoted(text: str) -> str:
    """A reviewer's words, or a title, as they may stand in a sentence: without quotation marks of their own."""
    line = one_line(text).replace("“", "'").replace("”", "'").replace('"', "'")
    return line[:LONGEST].strip().rstrip(".")


def called(title: str, timestamp: int) -> str:
    """What a reason calls an item that the user reviewed at a time: its title, else when that was."""
    when = datetime.fromtimestamp(timestamp, UTC)
    return quoted(title) or f"an item reviewed on {when.day} {when:%B %Y}"


def _turns(point: Point) -> tuple[str, ...]:
    """The wordings of a point."""
    if not point.imported and not point.profiled:
        return _TURNS[point.kind]
    verb = "liked" if point.kind in POSITIVE else "disliked"
    if not point.taste:
        return (f"it is {verb} for “{{quality}}”", f"among what is {verb} in it is “{{quality}}”")
    reviewer, profile = _PROFILED[point.kind]
    begin = profile if point.imported else reviewer
    whose = "the user's" if point.imported else "the user's profile"
    end = f"{whose} has “{{taste}}”" if point.profiled else "of {item} the user wrote “{taste}”"
    return (f"{begin} “{{quality}}”, and {end}",)


def _grammar(points: Sequence[Point], starts: Sequence[str], names: Mapping[str, str]) -> tuple[str, int]:
    """A Lark grammar: the lead and the first point, then a sentence a point; no turn of phrase is used twice.

    Also the bytes of the longest text that it lets through, which no tokenizer makes more tokens of.
    """
    taken: dict[Kind, int] = {}
    total = {kind: sum(point.kind is kind for point in points) for kind in Kind}
    rules = []
    for number, point in enumerate(points):
        # The turns of a kind are dealt out among its points, so that each still leaves the model a choice if it can.
        turns = _turns(point)[taken.get(point.kind, 0) :: total[point.kind]] or _turns(point)
        if not number:
            turns = tuple(turn for turn in turns if not turn.startswith(_SECOND))
        taken[point.kind] = taken.get(point.kind, 0) + 1
        filled = {
            "quality": quoted(point.quality),
            "taste": quoted(point.taste),
            "item": names.get(point.taste_review, ""),
        }
        wordings = [f"{turn.format(**filled)}." for turn in turns]
        rules.append([wording[0].upper() + wording[1:] for wording in wordings] if number else wordings)
    leads = [lead + (": " if points else ".") for lead in starts]
    body = ' " " '.join(f"p{number}" for number in range(len(points)))
    lines = [f"start: lead {body}", _rule("lead", leads), *(_rule(f"p{n}", each) for n, each in enumerate(rules))]
    longest = sum(max(len(text.encode()) for text in texts) + 1 for texts in (leads, *rules))
    return "\n".join(lines), longest


def _rule(name: str, texts: Sequence[str]) -> str:
    """A rule of the grammar: one of the texts."""
    return f"{name}: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in texts)
