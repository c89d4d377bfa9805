"""What a turn names beside what it asks for: an item described, the aspect asked about, a rating, a choice, yes, no."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz import fuzz, process, utils

from whylike.agents.prompting import one_line
from whylike.agents.stems import content
from whylike.records import RatingScale

FITS = 75.0
"""Likeness, of 100, of an answer to an option from which that is chosen."""

_FRAME = frozenset(
    """about according actually add advise album any anybody anyone anything appeal bad best bother bothering buy chance
    compare compared complain complains complaint complaints convince cup definitely did disappoint disappointed
    dislike does doing done enjoy enjoyed enjoying evidence explain far feel film find first fit folks for get
    give going good great guess hate hear heard hows idea item kind know leave less let like liked likely liking
    listen listening log long look lot lots love loving make maybe me mean means mention mentions might mind money
    more most movie much my new not note onto opinion people perhaps person please point prefer put rate rating
    read reads really reason reasons recommend record review reviewer reviewers reviews right said save saw say
    saying says see seeing seen short should show smth somebody someone star starring stars suggest suit suits sure
    taste tea tell than thanks thing things think thinking thoughts time today told tonight try trying two use user
    versus vs want wanted watch watched watching way whats wonder wondering word work worst worth would write
    writing wrong yes yesterday you""".split()  # noqa: SIM905 - a page of words
)
_KINDS = (
    r"(?:films?|movies?|albums?|records?|songs?|books?|ones?|bands?|shows?|series|games?|cds?|guitars?|amps?|mics?"
    r"|microphones?|pedals?|tuners?|strings?|keyboards?|musicals?|comed(?:y|ies)|dramas?|thrillers?|stories|story)"
)
_PHRASE = re.compile(
    rf"\b(?:that|the|this|those|a|an|some)\s+((?:(?!that\b|the\b|is\b|would\b|for\b)[\w'’-]+\s+){{1,5}}?{_KINDS}"
    rf"(?:\s+(?:by|starring|with|about|from)\s+(?:(?!and\b|or\b|have\b|is\b|as\b)[\w'’-]+\s*){{1,3}})?)(?!\w)"
    rf"|\b(?:the\s+)?(?:one|{_KINDS})\s+((?:about|with|where|by|from|set|starring)\s+[\w'’ -]+)",
    re.IGNORECASE,
)
_NUMBERS = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_NUMBERS |= {"nine": 9, "ten": 10}
_NUMBER = rf"(\d{{1,3}}(?:[.,]\d{{1,2}})?|{'|'.join(_NUMBERS)})"
_RATINGS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_NUMBER}\s*(?:out of|of|/)\s*(?:\d+|{'|'.join(_NUMBERS)})\b",
        rf"\b{_NUMBER}[\s-]*stars?\b",
        r"\b(?:give|gave|giving|gets?|rated?|rating|score[ds]?|it an?|it|put down|me|worth)\s+(?:it\s+|that\s+)?"
        rf"(?:an?\s+|of\s+|as\s+|at\s+)?{_NUMBER}\b(?!\s*(?:songs?|tracks?|hours?|times|films?|albums?|years?|days?))",
        rf"(?:^|[,:;.!?]\s*|\s(?:an?|as)\s+){_NUMBER}\s*(?:[,.!;]|$)",
        rf"\b(?:an?|is|was)\s+{_NUMBER}\s+(?:for|from|yesterday|today|because|overall|to me)\b",
        rf"\s{_NUMBER}\W*$",
    )
)
_ADD = re.compile(
    r"^\s*(?:(?:please|can you|could you|let me|i want to|i'd like to|here(?:'s| is)|note|record|log|add|save|put down"
    r"|write down)\s+)*(?:down\s+|that\s+)?(?:(?:a|my|this|the|new)\s+)*(?:review|rating|opinion)"
    r"(?:\s+(?:of|for|on))?\s*:?\s*",
    re.IGNORECASE,
)
_GIVING = re.compile(
    r"(?:^|[,;.!?]\s*|\s(?:and|so)\s+)(?:i|i['’]d|i would|we)\s+(?:would\s+)?(?:give|gave|rate|rated)\b[^,;:.!?]*$"
    r"|(?:[,;.!?]\s*|\s)(?:(?:and|so)\s+)?i(?:['’]d|\s+would)?$",
    re.IGNORECASE,
)
"""A clause that does nothing but give the rating that ends it."""
_YES = re.compile(
    r"^\W*(?:y|yes|yep|yeah|yup|sure|ok|okay|please do|do it|do|go ahead|right|correct|fine|of course|confirm)\b",
    re.IGNORECASE,
)
_NO = re.compile(
    r"^\W*(?:n|no|nope|nah|don['’]?t|do not|never ?mind|cancel|stop|wrong|rather not|leave it)\b", re.IGNORECASE
)
_FILLER = re.compile(r"^\W*(?:please|thanks?|thank you|it|that|this|do|i (?:do|am|would)|you|\W)*$", re.IGNORECASE)
"""What may follow a yes or a no without saying anything more."""
_SPLIT = re.compile(r"\s*(?:[,;/]|\band\b|\bor\b|\.\s)\s*", re.IGNORECASE)
_THING = re.compile(r"\b(?:the|that|this|my)\s+([^\W\d_]{3,})", re.IGNORECASE)
_QUESTIONS = re.compile(
    r"\?\s+|\s*,?\s+\b(?:and|or)\s+(?=(?:is|are|was|were|does|do|did|has|have|how|what about)\b)", re.IGNORECASE
)
"""Where one question of a turn ends and the next begins."""
_BEGIN = re.compile(r"^(?:(?:the|a|an|some|any|lots of)\s+)+", re.IGNORECASE)
_NOTHING = re.compile(
    r"^\W*(?:nothing|none|no|nope|skip|pass|next|not really|no idea"
    r"|(?:i )?don['’]?t know|not sure|anything|everything|whatever|any"
    r"|all(?: kinds?)?|no preferences?|(?:i['’]m |i am )?easy|surprise me|y|yes|yep|yeah|yup|sure|ok|okay|-)?"
    r"\W*$",
    re.IGNORECASE,
)


def description(text: str) -> str:
    """How a turn describes an item that it does not name: “turing” of “would I enjoy that turing film”."""
    return _kept(phrase(text) or text)


def pointed(text: str) -> str:
    """The same, but only where a kind of thing is pointed at: “war” of “is that war film loud?”."""
    return _kept(phrase(text))


def phrase(text: str) -> str:
    """How it is pointed at, as it was said: “war film”; empty where nothing is."""
    found = _PHRASE.search(one_line(text))
    return next((part for part in found.groups() if part), "").strip() if found else ""


def _kept(text: str) -> str:
    return " ".join(word for word in content(text) if word not in _FRAME and "'" not in word and "’" not in word)


def things(text: str) -> list[str]:
    """What a turn calls by an article and a word: “toaster” of “is the toaster safe for kids?”."""
    return [word for word in (found[1].lower() for found in _THING.finditer(text)) if _kept(word)]


def beside(text: str, mask: str) -> str:
    """What a turn sets beside an item, for whose name the mask stands: “war” of “MASK or the war film?”."""
    named = re.escape(mask)
    link = r"(?:or|and|than|vs\.?|versus|with|to|against)"
    found = re.search(
        rf"\b(?:the|that|this)\s+([^,.;:?!]+?)\s*,?\s+{link}\s+(?:the\s+)?{named}\b"
        rf"|\b{named}\s*,?\s+{link}\s+(?:the|that|this)\s+([^,.;:?!]+)",
        one_line(text),
        re.IGNORECASE,
    )
    return _kept(next((part for part in found.groups() if part), "")) if found else ""


def aspect(text: str) -> str:
    """What a question about an item is about: “happy ending” of “does it have a happy ending?”."""
    keep = {"long", "short"}
    words = re.findall(r"[^\W_]+(?:-[^\W_]+)*(?!['’])\b", re.sub(r"\b\w+['’]\w*", " ", text.lower()))
    return " ".join(word for word in words if content(word) and (word not in _FRAME or word in keep))


def aspects(text: str) -> list[str]:
    """What each question in a turn is about: “loud” and “heavy” of “is it loud and is it heavy?”."""
    return list(dict.fromkeys(found for part in _QUESTIONS.split(text) if (found := aspect(part))))


def rating(text: str, scale: RatingScale) -> float | None:
    """The rating that a turn gives, if it is on the scale."""
    found = _rating(text, scale)
    return None if found is None else _value(found[1])


def graded(text: str, scale: RatingScale) -> bool:
    """Whether a turn gives a rating in so many words: “1 star”, “2 of 5”."""
    return any(_value(found[1]) in scale for pattern in _RATINGS[:2] for found in pattern.finditer(text))


def written(text: str, scale: RatingScale) -> str:
    """What a turn says of an item, without the request to note it and the rating."""
    line = _ADD.sub("", one_line(text))
    found = _rating(line, scale)
    if found and not re.match(r"\s*(?:,|[.!?;:]|$)", line[found.end() :]):
        found = None  # it is part of what goes on: “gave it a 5 because of the diner scene”
    if found:
        before = _GIVING.sub("", line[: found.start()].rstrip())
        line = f"{before.rstrip(' ,;:')}{line[found.end() :]}"
    return re.sub(r"\s+([,.!?;:])", r"\1", line).strip(" ,:;-")


def _rating(text: str, scale: RatingScale) -> re.Match[str] | None:
    """Where the rating stands."""
    found = (match for pattern in _RATINGS for match in pattern.finditer(text))
    return next((match for match in found if _value(match[1]) in scale), None)


def _value(word: str) -> float:
    known = _NUMBERS.get(word.lower())
    return float(word.replace(",", ".")) if known is None else float(known)


def agrees(text: str) -> bool | None:
    """Whether an answer is yes; None where it is neither yes nor no."""
    if _NO.match(text):
        return False
    return True if _YES.match(text) else None


def bare(text: str) -> bool:
    """Whether an answer is a yes or a no and nothing else: “no plot at all” is something else."""
    found = _NO.match(text) or _YES.match(text)
    return bool(found and _FILLER.match(text[found.end() :]))


def chosen(text: str, options: Sequence[str]) -> int | None:
    """Which of the options an answer means, by its number or its words; None where it means none of them."""
    number = re.match(r"^\W*(?:the\s+)?(?:(\d+)|(first|second|third|fourth|last))\b", text.strip(), re.IGNORECASE)
    if number:
        place = (
            int(number[1])
            if number[1]
            else {"first": 1, "second": 2, "third": 3, "fourth": 4}.get(number[2].lower(), -1)
        )
        place = len(options) if place == -1 else place
        if 1 <= place <= len(options) and len(text.split()) < 4:  # noqa: PLR2004 - "the second one"
            return place - 1
    best = process.extractOne(text, options, scorer=fuzz.WRatio, processor=utils.default_process, score_cutoff=FITS)
    return None if best is None else int(best[2])


def pieces(text: str) -> list[str]:
    """The things that an answer lists; none where it says that there is nothing, or only yes."""
    if _NOTHING.match(text):
        return []
    found = (_BEGIN.sub("", part.strip(" .!?")) for part in _SPLIT.split(one_line(text, 60)))
    return [part for part in dict.fromkeys(found) if re.search(r"[^\W\d_]{2}", part)][:6]
