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
from itertools import pairwise

from whylike.adapters.engines.base import Engine, Writing, Written
from whylike.agents import calibration, comparing, matching, plans, ratings
from whylike.agents.matching import POSITIVE, TASTED_LIKED, Kind, Point
from whylike.agents.plans import Stance
from whylike.agents.prompting import one_line, prompt_file, render
from whylike.agents.recipe import constants, recipe
from whylike.agents.stated import is_stated
from whylike.dates import day
from whylike.records import Expert

LONGEST = 160
"""Characters of a quality or an item's title at most; a longer one is cut, so that every reason can be finished."""

_NO_EYES = r"(?<![:;=-])(?<!(?<!\w)8)"
"""No face looks at what follows: “:)”, “8)”, but not “(2018)”."""
_PAIRS = (
    (rf"{_NO_EYES}\(", rf"{_NO_EYES}\)", "(", ")"),
    (r"\[", r"\]", "[", "]"),
    ("“", "”", "“", "”"),
    (r'(?<!\w)"(?=\S)', r'(?<=\S)"(?!\w)', '"', '"'),
    (r"(?<!\w)'(?=[A-Z])", r"(?<=\S)'(?!\w)", "", "'"),
)
"""Brackets, but in faces, and quotation marks: how each begins and ends, and what stands for one that is missing. A
single mark at the end may be an apostrophe."""

_LEADS = {
    Stance.FOR: (
        "This should suit the user",
        "The user would probably enjoy it",
        "There is something here for the user",
    ),
    Stance.AGAINST: ("This is unlikely to suit the user", "The user would probably be disappointed"),
    Stance.MIXED: ("This could go either way for the user", "It is hard to say how the user would take it"),
}
_BY_OTHERS = {
    Stance.FOR: (
        "Going by others alone, the user would probably enjoy it",
        "To go by others alone, this should suit the user",
    ),
    Stance.AGAINST: (
        "Going by others alone, the user would probably be disappointed",
        "To go by others alone, this is unlikely to suit the user",
    ),
    Stance.MIXED: (
        "Nothing that the user wrote was found to come close to what is said of it, and it could go either way",
        "Nothing that the user wrote was found to come close to what is said of it, so it is hard to say",
    ),
}
"""How a reason begins of which nothing meets what the user wrote."""
_NEWCOMER = ("The user has written no reviews yet, so only others can be heard",)
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
    Kind.LACK: (
        "one complaint is “{quality}”, while of {item} the user wrote “{taste}”",
        "one reviewer regrets “{quality}”, while of {item} the user wrote “{taste}”",
        "somebody warns “{quality}”, while about {item} the user wrote “{taste}”",
    ),
    Kind.PRECEDENT_FOR: (
        "of what the user has reviewed lately {item} comes closest, and in it the user liked “{taste}”",
        "the nearest thing among the user's latest reviews is {item}, which the user praised with the words “{taste}”",
    ),
    Kind.PRECEDENT_AGAINST: (
        "of what the user has reviewed lately {item} comes closest, and in it the user disliked “{taste}”",
        "the nearest thing among the user's latest reviews is {item}, of which the user complained “{taste}”",
    ),
    Kind.PRAISE: (
        "one reviewer praises it with the words “{quality}”",
        "what somebody likes about it is “{quality}”",
        "what stands out for one reviewer is “{quality}”",
        "praise comes from one reviewer, “{quality}”",
    ),
    Kind.FAULT: (
        "one reviewer complains “{quality}”",
        "a warning from one reviewer reads “{quality}”",
        "what somebody dislikes about it is “{quality}”",
        "what put one reviewer off is “{quality}”",
    ),
}
_CONTRARY: dict[Kind, tuple[str, ...]] = {
    Kind.PRAISE: (
        "on the bright side, “{quality}”, as one reviewer has it",
        "to its credit somebody writes “{quality}”",
    ),
    Kind.FAULT: ("on the other hand, “{quality}”, as one reviewer has it",),
}
"""How a sentence may go as well that goes against the one before it."""
_CONCEDED = (
    "one reviewer, pleased on the whole, writes “{quality}”",
    "a reviewer who liked it on the whole writes “{quality}”",
    "from a kind review comes “{quality}”",
    "even among those who liked it one writes “{quality}”",
)
"""How a fault is told that stands in a review of a good rating: it may be none."""
_PROFILED = {
    Kind.DRAW: ("one reviewer writes", "its profile says"),
    Kind.CLASH: ("somebody complains", "its profile warns of"),
    Kind.LACK: ("somebody complains", "its profile warns of"),
}
"""Where an imported profile has a part: what leads to a reviewer's words, and what to the profile's."""
OWN_WORDS = frozenset(
    word
    for turn in (
        *(lead for leads in (*_LEADS.values(), *_BY_OTHERS.values(), _NEWCOMER) for lead in leads),
        *(one for turns in (_TURNS, _CONTRARY) for each in turns.values() for one in each),
        *_CONCEDED,
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
        of = (sys.modules[__name__], comparing, matching, plans, ratings, calibration)
        modules = [constants(module) for module in of]
        return f"{self.version}+{recipe(prompts, modules, _LEADS, _BY_OTHERS, _NEWCOMER, _TURNS, _CONTRARY, _PROFILED)}"

    @property
    def taught(self) -> bool:
        """Whether an adapter answers, which was trained to put a plan into sentences."""
        return Expert.REASONER.taught(self.version)

    def request(
        self, points: Sequence[Point], way: Stance, names: Mapping[str, str], *, newcomer: bool, heeded: bool = False
    ) -> Writing:
        """What the expert is asked: the points in a prompt, and the grammar that holds the answer to them.

        Args:
            points: What the reason has to say, in this order.
            way: The way that it goes.
            names: For each review by this user what its item is called.
            newcomer: Whether the user has no reviews.
            heeded: Whether what the user said of their own taste speaks for or against the item.
        """
        said = [point for point in points if point.quality]
        pros = [point.quality for point in said if point.kind in POSITIVE]
        cons = [point.quality for point in said if point.kind not in POSITIVE]
        told = " ".join(
            f"{side}: {', '.join(f'“{quoted(quality)}”' for quality in listed)}."
            for side, listed in (("For", pros), ("Against", cons))
            if listed
        )
        by_others = points and not heeded and not any(point.taste for point in points)
        leads = _NEWCOMER if newcomer else (_BY_OTHERS if by_others else _LEADS)[way]
        grammar, longest = _grammar(points, leads, names)
        return Writing(
            expert=Expert.REASONER,
            prompt=render("reason", points=told or "Nothing is known."),
            max_tokens=longest,
            grammar=grammar,
        )

    def write(self, request: Writing, on_text: Callable[[str], None]) -> Written:
        """Write the reason, telling `on_text` each piece. Raises `EngineError`."""
        return self._engine.stream(request, on_text)


def reopened(reason: str, way: Stance) -> str:
    """A reason that a grammar held, begun as one that goes this way; what it then goes on with is left as it is.

    So is a reason that goes this way already, and one that was written freely.
    """
    for table in (_LEADS, _BY_OTHERS):
        for lead in (lead for leads in table.values() for lead in leads):
            if reason.startswith((f"{lead}:", f"{lead}.")) and lead not in table[way]:
                return f"{table[way][0]}{reason[len(lead) :]}"
    return reason


def quoted(text: str) -> str:
    """A reviewer's words, or a title, as they may stand in a sentence: without quotation marks of their own.

    A bracket or a mark of theirs whose fellow was cut off gets it back.
    """
    line = one_line(text)[:LONGEST].strip().rstrip(".")
    for begin, end, before, after in _PAIRS:
        lacking = len(re.findall(begin, line)) - len(re.findall(end, line))
        whole = f"{line}{after}" if lacking == 1 else f"{before}{line}" if lacking == -1 else line
        line = whole if len(whole) <= LONGEST else line
    return line.replace("“", "'").replace("”", "'").replace('"', "'")


def called(title: str, timestamp: int) -> str:
    """What a reason calls an item that the user reviewed at a time: its title, else when that was."""
    return quoted(title) or f"an item reviewed on {day(timestamp)}"


def _turns(point: Point) -> tuple[str, ...]:
    """The wordings of a point."""
    if not point.imported and not point.profiled:
        return _CONCEDED if point.conceded else _TURNS[point.kind]
    if point.profiled and is_stated(point.taste_review):
        begin = _PROFILED[point.kind][point.imported]
        way = "like" if point.kind in TASTED_LIKED else "dislike"
        return (f"{begin} “{{quality}}”, and the user said that they {way} “{{taste}}”",)
    verb = "liked" if point.kind in POSITIVE else "disliked"
    if not point.taste:
        return (f"it is {verb} for “{{quality}}”", f"among what is {verb} in it is “{{quality}}”")
    reviewer, profile = _PROFILED[point.kind]
    begin = profile if point.imported else reviewer
    whose = "the user's" if point.imported else "the user's profile"
    if point.kind is Kind.LACK:
        end = f"{whose} praises “{{taste}}”" if point.profiled else "in {item} the user liked “{taste}”"
    else:
        end = f"{whose} has “{{taste}}”" if point.profiled else "of {item} the user wrote “{taste}”"
    return (f"{begin} “{{quality}}”, and {end}",)


def _grammar(points: Sequence[Point], starts: Sequence[str], names: Mapping[str, str]) -> tuple[str, int]:
    """A Lark grammar: the lead and the first point, then a sentence a point; no turn of phrase is used twice.

    Also the bytes of the longest text that it lets through, which no tokenizer makes more tokens of.
    """
    contrary = [(before.kind in POSITIVE) is not (point.kind in POSITIVE) for before, point in pairwise(points)]
    rules = []
    for number, point in enumerate(points):
        # The turns of a kind are dealt out among its points, so that each still leaves the model a choice if it can.
        alike = [place for place, other in enumerate(points) if other.kind is point.kind]
        turns = _turns(point)[alike.index(number) :: len(alike)] or _turns(point)
        after = [place for place in alike if place and contrary[place - 1]]
        if number in after and not point.imported:
            turns += _CONTRARY.get(point.kind, ())[after.index(number) :: len(after)]
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
