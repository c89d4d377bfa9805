"""What a user says of their own taste, read from a turn: “no, I love long films”, “and if I didn't mind subtitles?”.

A few patterns, since nothing is kept that was not shown back to the user first. The tightest come first: to deny a
dislike is no liking.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple, Protocol

from whylike.agents.prompting import one_line
from whylike.records import Attitude

LONGEST = 10
"""Words of what something is about at most."""
READ = 60
"""Words of a turn that are read."""

_NOT = r"(?: not|n't)(?: really| actually| particularly| at all| so| too)*"
_SOFT = (
    r"(?:(?:really|actually|truly|rather|quite|also|just|absolutely|do|did|always|only|now|kind of|sort of|a lot) )*"
)
_BE = r"(?:am|are|is|was|were|be|'m|'re|'d been|been)"
_BOTHER = r"(?:bother|trouble|matter to|annoy|disturb|scare|worry|put off|irritate)"
_FINE = r"(?:fine|ok|okay|all right|alright|no problem|welcome)"
_AFTER = r"(?P<about>.+)"
_BEFORE = (
    r"(?:^|[,.:;!?] |\b(?:if|that|and|but|suppose|say|imagine|assume|assuming|pretend|no|nope|know|only) )"
    r"(?P<about>[^,.:;!?]+?)"
)
_IS = r"(?:is|are|was|were)"
_MINDED = r"(?:bothered|troubled|annoyed|put off|scared|picky) (?:by|of|about|with)"
_PUTS_OFF = r"(?:bothers?|bothered|annoys?|annoyed|scares?|scared|ruins?|spoils?|irritates?|puts?) (?:me|it for me)\b"
_ENJOY = r"(?:like|liked|love|loved|enjoy|enjoyed|adore|adored|prefer|preferred|want|wanted|need)"
_FAN = r"(?:fans? of|into|fond of|keen on)"

_PATTERNS: dict[Attitude, tuple[str, ...]] = {
    Attitude.INDIFFERENT: (
        rf"\b(?:do|did|does|would){_NOT} (?:mind|care(?: about| for| if| who| what)?) {_AFTER}",
        rf"\bused to (?:like|love|enjoy|hate|dislike) {_AFTER}",
        rf"\b(?:do|did|does){_NOT} (?:dislike|hate|detest|loathe) {_AFTER}",
        rf"\bnever (?:said|told you) (?:that )?i (?:\w+ )?(?:like|love|hate|dislike|mind)d? {_AFTER}",
        rf"(?:{_BE}(?:{_NOT})|\bnot|\bless)(?: really| so)? {_MINDED} {_AFTER}",
        rf"\bno (?:longer mind|problems? with|issues? with|trouble with) {_AFTER}",
        rf"\b(?:cared|care|minded|mind|bothered) less (?:about|for)? ?{_AFTER}",
        rf"\b{_FINE} with (?!me\b|us\b){_AFTER}",
        rf"\b(?:could|can) (?:live with|stand|bear|take|put up with) {_AFTER}",
        rf"{_BEFORE} (?:do|does|did|would|will){_NOT} {_BOTHER}\b",
        rf"{_BEFORE} {_IS}(?: perfectly| quite| totally)? {_FINE}\b",
        rf"{_BEFORE} {_IS}(?:{_NOT} (?:a |an )?| no )(?:problem|issue)\b",
    ),
    Attitude.DISLIKE: (
        rf"\b(?:can|could)(?:not| not|'t) (?:stand|bear|take|abide|live with) {_AFTER}",
        rf"\b(?:do|did|would|will){_NOT} (?:like|enjoy|love|want|care for) {_AFTER}",
        rf"\b(?:never|hardly) (?:liked|like|enjoyed|enjoy|loved|wanted|want) {_AFTER}",
        rf"(?:{_BE}(?:{_NOT})|\bnot|\bno)(?: a)?(?: big| huge)? {_FAN} {_AFTER}",
        rf"\b(?:no time|no patience) for {_AFTER}",
        rf"\b(?:tired|sick|allergic|wary|afraid|scared) (?:of|to) {_AFTER}",
        rf"{_BEFORE} {_IS}{_NOT} (?:for me|my (?:thing|cup of tea|taste))\b",
        rf"{_BEFORE} {_SOFT}{_PUTS_OFF}",
        rf"\b{_SOFT}(?:hate|hated|dislike|disliked|detest|loathe|despise|avoid)d? {_AFTER}",
    ),
    Attitude.LIKE: (
        rf"\b{_SOFT}{_ENJOY} {_AFTER}",
        rf"\b(?:crazy about|mad about|(?:big |huge |great )?{_FAN}) {_AFTER}",
        rf"\bcared? (?:a lot |very much |deeply )?about {_AFTER}",
        rf"{_BEFORE} (?:matters?|mattered|{_IS} important) to me\b",
    ),
}
_CONTRACTED = re.compile(r"\b(do|did|does|would|could|can|was|were|is|are|wo|have|has)nt\b")
_CANT = re.compile(r"\bcant\b")
_END = re.compile(
    r"[,;:!?()“”\"]|\.(?:\s|$)| - | (?:and|but|then|so|which|because|since|when|though|although|anyway|whatever|would"
    r"|how|what|not)\b"
)
_TAIL = re.compile(
    r"(?: (?:actually|honestly|anyways?|tbh|imo|btw|i guess|i think|i suppose|i must say|to be (?:fair|honest)"
    r"|by the way|haha(?:ha)*|now|nowadays|these days|lately|anymore|any more|any longer|lol|please|pls|too|either"
    r"|though|really|at all|that much|so much|a lot|you know|no more|again"
    r"|in fact|myself|instead|with me|for me|by me|in a \w+))+$"
)
_LEAD = re.compile(
    r"^(?:(?:what|how|and|but|no|nope|nah|ok|well|suppose|say|actually|honestly|tbh|btw|haha|to be honest|to|it|if|when"
    r"|that|about|abt|for|of|the|having) )+"
)
_MEAN = re.compile(r"^(?:it|that|this|them|him|her|me|you|one|something|anything|everything|nothing)\b")


_PARTS = re.compile(
    r"[,;.!]?\s+(?:but|while|whereas|and)\s+(?=(?:i|i['’]\w+|(?:(?:really|also|absolutely|do) )*"
    r"(?:like|love(?! (?:songs?|stor(?:y|ies)|scenes?|affairs?|ballads?))|enjoy|adore|prefer|hate|dislike"
    r"|detest|loathe|can['’]?t|cannot|don['’]?t|do not))\b)"
    r"|[;.!?]\s+|,\s+(?=(?:i|i['’]\w+)\s)",
    re.IGNORECASE,
)
"""Where another statement may begin."""


class _Verb(NamedTuple):
    now: str
    supposed: str
    of_them: str


_VERBS = {
    Attitude.LIKE: _Verb("like", "liked", "likes"),
    Attitude.DISLIKE: _Verb("dislike", "disliked", "dislikes"),
    Attitude.INDIFFERENT: _Verb("do not mind", "did not mind", "does not mind"),
}


class Taken(Protocol):
    """How somebody takes something: a statement, a preference, what it does to a rating."""

    @property
    def attitude(self) -> Attitude:
        """How."""
        ...

    @property
    def about(self) -> str:
        """What."""
        ...


class Statement(NamedTuple):
    """How somebody takes something."""

    attitude: Attitude
    about: str
    """In their words: “long films”."""


def read(text: str) -> Statement | None:
    """What a turn says of its writer's taste; None where nothing of the kind is found."""
    line = one_line(text, READ).lower().replace("’", "'").replace("cannot", "can not")
    line = line.replace("black and white", "black-and-white")
    line = _CONTRACTED.sub(r"\1n't", _CANT.sub("can't", line))
    for attitude, pattern in _compiled():
        for found in pattern.finditer(line):
            about = _about(found["about"])
            if about:
                return Statement(attitude, about)
    return None


def read_all(text: str) -> list[Statement]:
    """All that a turn says of it: “I like quiet films, but I can't stand slow ones”; of one thing the last counts."""
    parts = [said for part in _PARTS.split(one_line(text, READ)) if (said := read(part))]
    if len(parts) < 2:  # noqa: PLR2004 - one statement may need the words around it
        whole = read(text)
        return [whole] if whole else []
    return list({said.about: said for said in parts}.values())


def told(*said: Taken) -> str:
    """What somebody said as it is shown back to them: “you like long films and dislike gore”."""
    return "you " + " and ".join(f"{_VERBS[each.attitude].now} {each.about}" for each in said)


def supposed(said: Taken) -> str:
    """The same where it is only supposed: “you liked long films”."""
    return f"you {_VERBS[said.attitude].supposed} {said.about}"


def told_of(said: Taken) -> str:
    """The same as it is told of them: “likes long films”."""
    return f"{_VERBS[said.attitude].of_them} {said.about}"


@cache
def _compiled() -> tuple[tuple[Attitude, re.Pattern[str]], ...]:
    return tuple((each, re.compile(pattern)) for each, patterns in _PATTERNS.items() for pattern in patterns)


def _about(text: str) -> str:
    """What something is about, without what goes on after it; empty where it says nothing by itself."""
    about = _END.split(f" {text.strip()} ".strip(), maxsplit=1)[0].strip().rstrip(".")
    about = _LEAD.sub("", _TAIL.sub("", about)).strip(" '")
    if not about or _MEAN.match(about) or not re.search(r"[^\W\d_]{2}", about):
        return ""
    return " ".join(about.split()[:LONGEST])
