"""Of whom the parts of a freely written sentence speak: of the user's taste, or of the item and what others say of it.

A sentence turns to the user at “the user”, “their reviews” or an item that they reviewed, and to the item at its name,
“it”, “reviewers” or “others”. What the user may come to like is told of the item. Only English is understood, in which
the teachers write; a sentence that turns to nobody speaks of the item.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from whylike.records import Side

QUOTE = r"“[^”]*”"
"""A quotation."""

_OWN, _ABOUT, _SAID = "\ue000", "\ue001", "\ue002"
"""What stands for each character of a name of the user's items, of the item's name, and of a quotation."""
_STRAIGHT = re.compile(r'(?<!\w)"([^"]+)"(?!\w)')
_WORDS = r"(?:[\w-]+\s){0,3}"
_WROTE = r"(?:reviews?|feedback|comments?|ratings?|history|profile)"
_TASTE = rf"(?:{_WROTE}|tastes?|preferences?|enjoyment|appreciation|liking|love|affinity|fondness|dislikes?)"
_LIKE = (
    r"(?:\s(?:also|have|seem|appear|tend|to|\w+ly)|['’]ve)*\s(?:dis)?"
    r"(?:like|love|enjoy|prefer|value|appreciate|praise|wrote|written|mention|express|criticize|complain)"
)
_THING = r"(?:item|album|record|recording|compilation|collection|soundtrack|book|film|movie|game|product|release)"
_CUE = re.compile(
    rf"""
    (?P<foretold>\b(?:(?:the|this)\suser|they|you)(?:['’](?:d|ll)\b|(?:,[^,]*,)?
        (?:\s(?:also|still|then|thus|seems?|is|are|\w+ly)){{0,3}}
        \s(?:may|might|will|would|could|can|should|likely|unlikely|bound|sure)\b)
        |\b(?:but|and)\s(?:\w+ly\s|also\s)?(?:may|might|will|would|could)\b)
    |(?P<own>{_OWN}+|\b(?:the|this)\suser['’]s\s{_WORDS}{_WROTE}\b
        |(?<!\bfor\s)\b(?:the|this|a)\suser\b(?!['’]s\s{_WORDS}(?:experience|collection)\b)
        |\byour\s{_WORDS}{_TASTE}\b
        |\byou{_LIKE}
        |\bas\san?\s[\w\s-]*?\b(?:fan|lover|enthusiast)\b)
    |(?P<they>^their\b|\btheir\s{_WORDS}{_TASTE}\b|\bthey{_LIKE})
    |(?P<others>\b(?:reviewers?|critics|others|somebody|users|people|listeners|fans|readers|viewers
        |(?:some|one|many|most|several|the|other|positive|negative|mixed)\s(?:\w+\s)?reviews?
        |(?:some|one|many|most|several)\s(?:say|find|writes?|complains?|praises?|criticize)s?)\b)
    |(?P<item>{_ABOUT}+|\bthis\b(?!\s(?:user|kind|type|sort|style|genre))
        |\bthe\s(?:(?!of\b)[\w-]+\s){{0,2}}?{_THING}\b|\bthe\s(?:(?:new|recommended|digital)\s)+music\b)
    |(?P<its>\bits\b)
    |(?P<since_it>\b(?:because|since|as|that)\sit\b)
    |(?P<it>\bit\b)
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Where a sentence turns to somebody or something."""
_PRAISES = re.compile(
    r"\b(?:prais\w+|likes|liked|loves?|loved|enjoys?|enjoyed|appreciat\w+|values|valued|prefers?|preferred|fan"
    r"|positively|commended|acclaimed)\b",
    re.IGNORECASE,
)
_BLAMES = re.compile(
    r"\b(?:dislik\w+|critici\w+|complain\w*|disappoint\w+|negative\w*|drawbacks?|regret\w*|hate[sd]?|faults?)\b",
    re.IGNORECASE,
)
_TURNED = re.compile(
    r"\b(?:not|no|never|without|lack\w*|despite|although|however|but|mixed|while|though|\w+n['’]t)\b", re.IGNORECASE
)
"""What makes it unclear whether something is praised or blamed."""


class Clause(NamedTuple):
    """A part of a sentence."""

    text: str
    rest: str
    """Without names and quotations."""
    side: Side | None
    """Of whom it speaks; None for what stands before any of them is named."""
    liked: bool | None
    """Whether it says that somebody likes or dislikes something; None where it clearly says neither."""
    named: tuple[str, ...]
    """The user's items that it names, in order."""
    quotations: tuple[str, ...]


def clauses(sentence: str, own: Collection[str], about: str) -> list[Clause]:
    """The parts of a sentence, in order.

    Args:
        sentence: Written freely.
        own: What the items that the user reviewed are called.
        about: What the item itself is called.
    """
    masked, named = _masked(sentence, own, about)
    turns = _turns(masked)
    made = []
    for (start, side, foretold), (end, *_) in pairwise([*turns, (len(sentence), None, False)]):
        part = masked[start:end]
        rest = re.sub(f"[{_OWN}{_ABOUT}{_SAID}]+", "“”", part)
        made.append(
            Clause(
                text=sentence[start:end],
                rest=rest,
                side=side,
                liked=None if foretold else _liked(rest),
                named=tuple(dict.fromkeys(name for place, name in named if start <= place < end)),
                quotations=tuple(
                    sentence[start + said.start() + 1 : start + said.end() - 1]
                    for said in re.finditer(f"{_SAID}+", part)
                ),
            )
        )
    return made


def _turns(masked: str) -> list[tuple[int, Side | None, bool]]:
    """Where each part begins, of whom it speaks, and whether it foretells what the user will like."""
    turns: list[tuple[int, Side | None, bool]] = []
    person: Side | None = None
    thing: Side | None = None
    for cue in _CUE.finditer(masked):
        kind = cue.lastgroup
        sides = {"own": Side.USER, "they": person, "its": thing, "since_it": thing or Side.ITEM}
        side = sides.get(kind or "", Side.ITEM)
        if side is None:
            if turns:  # nobody was named: it is a part of what the sentence speaks of
                continue
            side = Side.USER if kind == "they" else Side.ITEM
        if kind in {"own", "others"}:
            person = side
        elif kind == "foretold":
            person = person or Side.USER
        if kind == "item" or cue[0].startswith(_OWN):
            thing = side
        if not turns or turns[-1][1] is not side:
            turns.append((cue.start(), side, kind == "foretold"))
    if not turns:
        return [(0, Side.ITEM, False)]
    start, side, foretold = turns[0]
    before = masked[:start].rstrip()
    if before.endswith((",", ";", ":")) or (before and masked[start] == _OWN):
        return [(0, None, False), *turns]
    return [(0, side, foretold), *turns[1:]]


def _masked(sentence: str, own: Collection[str], about: str) -> tuple[str, list[tuple[int, str]]]:
    """The sentence, as long as it was, with names and quotations as marks, and where it names which of the user's."""
    marks = {**dict.fromkeys(own, _OWN), about: _ABOUT}
    names = sorted({*marks} - {""}, key=len, reverse=True)
    found: list[tuple[int, str]] = []

    def mark(match: re.Match[str], name: str) -> str:
        if marks[name] == _OWN:
            found.append((match.start(), name))
        return marks[name] * len(match[0])

    def quotation(match: re.Match[str]) -> str:
        called = re.compile(rf"{re.escape(match[0][1:-1].rstrip(' .,'))}\s*(?:[\[(:-]|$)", re.IGNORECASE)
        name = next(filter(called.match, names), None)  # without what titles have in brackets, or after a colon
        return mark(match, name) if name else _SAID * len(match[0])

    masked = re.sub(QUOTE, quotation, _STRAIGHT.sub(r"“\1”", sentence))
    for name in names:
        masked = re.sub(_naming(name), partial(mark, name=name), masked)
    return masked, sorted(found)


def _naming(name: str) -> str:
    """How a sentence names something; a single word at its beginning, as `It`, is no name."""
    return whole(name) if " " in name else rf"(?<!^){whole(name)}"


def whole(words: str) -> str:
    """How words stand in a text by themselves, and not within others."""
    return rf"(?<!\w){re.escape(words)}(?!\w)"


def _liked(text: str) -> bool | None:
    """Whether a text tells praise or blame; None where it tells neither, or both, or takes it back."""
    praises, blames = (bool(way.search(text)) for way in (_PRAISES, _BLAMES))
    return None if praises is blames or _TURNED.search(text) else praises
