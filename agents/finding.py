"""Which items of the store a text speaks of: by their titles, typed more or less right, or by what they are.

A title is looked for in every window of the text. What is described and not named (“that Turing film”) is looked for
among the vectors of the items, in their words, and in what reviewers write of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from rapidfuzz import fuzz, process
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from whylike.agents.stems import content, telling
from whylike.memory.embeddings import Embedder
from whylike.memory.index import Index
from whylike.memory.nearest import spoken_of, titles
from whylike.memory.store import Store
from whylike.records import Item, Record

TYPED = 84.0
"""Likeness, of 100, of a window of the text to a title from which it is that title with slips of the finger."""
SHORT = 5
"""Letters below which a title has to be typed right."""
FOUND = 0.36
"""Score from which a described item is offered at all."""
SURE = 0.10
"""By how much the best score has to be ahead of the next for the item not to be asked about."""
SAID = 0.35
"""What it adds to the score that all words of a description stand in what is known of the item."""
HEARD = 0.4
"""What it adds that all of them stand in a tenth of the item's reviews or more."""
LOOKED_AT = 20
"""Items nearest to a description whose words are looked at."""
LONGEST = 300
"""Characters of a text that are looked at."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ASIDE = re.compile(r"\s*[(\[][^)\]]*[)\]]")
_ARTICLE = re.compile(r"^(?:the|a|an)\s+", re.IGNORECASE)
_POINTS = re.compile(r"\b(?:it|its|they|them|this one|that one)\b", re.IGNORECASE)
_LINK = re.compile(r"\W*\b(?:or|and|than|vs|versus|with|to|against)\b\W*(?:the\s+)?", re.IGNORECASE)
_SUBTITLE = re.compile(r"\s*(?::|\s[-–—]\s)\s*")


class Mention(Record):
    """An item that is named in a text."""

    item_id: str
    start: int
    """Where its name begins in the text, in characters."""
    end: int
    likeness: float
    """Of 100: how well it is typed."""
    certain: bool
    """Whether it can be nothing but a title: a common word typed small (“heat”) may be just that word."""


class Described(Record):
    """An item that a description may mean."""

    item_id: str
    worded: bool
    """Whether any of the description's words is one of the item's or of its reviewers'."""
    score: float
    """A cosine, more where the description's words are those of the item or of its reviewers."""


def named(store: Store, text: str) -> list[Mention]:
    """The items whose titles stand in the text, in its order; where titles overlap the longest that fits best counts.

    Two items of one title are both there, with the same place. A common word is no title beside a certain one, unless
    it is set against a certain one (“whiplash or La La Land”), or where the text points to an item already (“is it
    bad?”).
    """
    text = text[:LONGEST]
    places = [found.span() for found in _WORD.finditer(text)]
    if not places:
        return []
    plain = " ".join(_words(text))
    found = [
        mention
        for page in titles(store)
        for mention in (_match(item_id, name, text, plain, places) for item_id, name in _near(page, plain))
        if mention
    ]
    found.sort(key=lambda each: (-(each.end - each.start), -each.likeness, each.item_id))
    taken: list[Mention] = []
    for each in found:
        same = [other for other in taken if (other.start, other.end) == (each.start, each.end)]
        apart = all(each.end <= other.start or other.end <= each.start for other in taken)
        again = any(other.item_id == each.item_id for other in taken)
        if not again and (apart or (same and each.likeness >= same[0].likeness)):
            taken.append(each)
    if any(each.certain for each in taken) or _POINTS.search(text):
        taken = [
            each
            for each in taken
            if each.certain or any(other.certain and _linked(text, each, other) for other in taken)
        ]
    return sorted(taken, key=lambda each: (each.start, each.item_id))


def described(store: Store, index: Index, embedder: Embedder, text: str, k: int = 4) -> list[Described]:
    """The items that a description may mean, the likeliest first; none where nothing is near.

    Args:
        store: Has the items and what is written of them.
        index: Its items must be up to date (`Index.sync`).
        embedder: Makes the vectors.
        text: A few words (“turing film”).
        k: Most items.
    """
    wanted = telling(text)
    if not wanted:
        return []
    near = dict(index.nearest_items(embedder.embed([text[:LONGEST]])[0], LOOKED_AT))
    heard = spoken_of(store, content(text), LOOKED_AT)
    found = []
    for item_id in {*near, *heard}:
        item = store.item(item_id)
        said = _share(wanted, item) if item else 0.0
        score = near.get(item_id, 0.0) + SAID * said + HEARD * min(10 * heard.get(item_id, 0.0), 1.0)
        if score >= FOUND:
            worded = bool(said or heard.get(item_id))
            found.append(Described(item_id=item_id, worded=worded, score=round(score, 4)))
    return sorted(found, key=lambda each: (-each.score, each.item_id))[:k]


def titled(store: Store, words: Sequence[str], n: int) -> dict[str, str]:
    """The items that have one of these words in their titles, by id, at most `n`, each with the first that it has."""
    wanted = {word: stems for word in words if (stems := telling(word))}
    if not wanted:
        return {}

    def first(title: str) -> str:
        has = telling(title)
        return next((word for word, stems in wanted.items() if stems & has), "")

    found = ((item_id, word) for page in titles(store) for item_id, title in page if (word := first(title)))
    return dict(islice(found, n))


def settled(found: Sequence[Described]) -> str | None:
    """The one item that a description means; None where there is none, several may be meant, or only its sense is near.

    So “the espresso machine” is not taken for a coffee grinder where the store has no such machine.
    """
    if not found or not found[0].worded or (len(found) > 1 and found[0].score - found[1].score < SURE):
        return None
    return found[0].item_id


def _linked(text: str, one: Mention, other: Mention) -> bool:
    """Whether nothing but an “or” or the like stands between two names."""
    first, second = sorted((one, other), key=lambda each: each.start)
    return bool(_LINK.fullmatch(text[first.end : second.start]))


def _words(text: str) -> list[str]:
    return [found[0].lower() for found in _WORD.finditer(text)]


def _names(title: str) -> set[str]:
    """What an item may go by: its title, without what is in brackets, without its subtitle, without its article."""
    bare = _ASIDE.sub("", title)
    main, *rest = _SUBTITLE.split(bare, maxsplit=1)
    names = {bare, *(part for part in (main, *rest) if len(part.split()) > 1 or len(part) > SHORT)}
    names |= {short for name in names if len(short := _ARTICLE.sub("", name)) > SHORT}
    plain = {" ".join(_words(name)) for name in names}
    return {name for name in plain if name}


def _near(page: Sequence[tuple[str, str]], plain: str) -> Iterator[tuple[str, str]]:
    """The items' names that may stand in the text, roughly."""
    page = [(item_id, name) for item_id, title in page for name in _names(title)]
    names = [name if len(name) <= len(plain) + 2 else "" for _, name in page]
    for _, _, number in process.extract_iter(plain, names, scorer=fuzz.partial_ratio, score_cutoff=TYPED - 6):
        if names[number]:
            yield page[number]


def _match(item_id: str, name: str, text: str, plain: str, places: Sequence[tuple[int, int]]) -> Mention | None:
    """Where a name stands in the text, whole words of it, if it does."""
    size = len(name.split())
    words = plain.split(" ")
    best: tuple[float, int, int] | None = None
    for length in {size, size - 1, size + 1}:
        for first in range(len(words) - length + 1 if length > 0 else 0):
            window = " ".join(words[first : first + length])
            likeness = 100.0 if window == name else 0.0
            if not likeness and len(name) >= SHORT:
                likeness = fuzz.ratio(window, name, score_cutoff=TYPED)
            if likeness and (best is None or likeness > best[0]):
                best = likeness, first, first + length
    if best is None:
        return None
    likeness, first, last = best
    start, end = places[first][0], places[last - 1][1]
    typed = text[start:end]
    begins = first == 0 and len(words) > last
    named_ = typed[:1].isupper() and not begins
    whole = first == 0 and last == len(words)
    common = size == 1 and (name in ENGLISH_STOP_WORDS or typed.islower() or begins)
    if name in ENGLISH_STOP_WORDS and not named_ and not whole:
        return None
    return Mention(
        item_id=item_id, start=start, end=end, likeness=round(likeness, 1), certain=whole or named_ or not common
    )


def _share(wanted: set[str], item: Item) -> float:
    """The share of a description's words that stand in what is known of an item."""
    known = telling(" ".join([item.title, *item.categories, item.description]))
    return len(wanted & known) / len(wanted)
