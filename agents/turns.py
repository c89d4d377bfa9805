"""The router of a conversation: what a turn asks for, told from labelled utterances.

A logistic regression over MiniLM's vector of the utterance, its words, and a few signs (a digit, a conditional, two
items named). Names of items are masked first, so that no title decides. `whylike evaluate routing` measures it. A turn
that it is not sure of is asked about; whatever writes to the store is confirmed anyway.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from importlib import resources
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import numpy as np
import sklearn
import yaml
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from whylike.agents.recipe import constants, digest
from whylike.memory.embeddings import Embedder
from whylike.records import Record

MASK = "ITEM"
"""What stands for the name of an item."""
LONGEST = 400
"""Characters of a turn that are looked at."""
SURE = 0.5
"""Probability below which the likeliest two ways are offered."""
INVERSE_PENALTY = 50.0
TOLERANCE = 1e-3
SIGNS = 0.2
"""Weight of a sign beside a vector of unit length."""
WORD = r"[\w'’]+|\?"
FEW = 3
"""Words of a turn below which it says little by itself."""

_SIGNS = (
    r"\b(?:if|suppose|supposing|imagine|pretend|assume|assuming|hypothetically|let['’]?s say)\b",
    r"\b(?:forget|delete|erase|remove|wipe|clear|purge|drop|unlearn|destroy|get rid)\b",
    r"\b(?:[0-9]|one|two|three|four|five)\b(?: (?:out )?of|/| ?stars?|$)|\bstars?\b",
    r"\b(?:review|rating|rate|rated)\b",
    r"\b(?:saw|watched|heard|bought|listened|finished|read|seen|tried|gave)\b",
    r"\bI(?:['’]m|['’]ve)? (?:\w+ )?(?:\w+ )?(?:like|love|hate|enjoy|prefer|mind|adore|dislike|stand|care)\b",
    r"\b(?:would|will|should|might|could|am|do you think) I\b|\bfor me\b|\bsuit me\b|\bmy (?:taste|thing|cup)\b",
    r"^(?:is|are|does|do|did|any|how|what|who|anything|and)\b.*\b(?:it|they|people|reviewers?|any(?:one|body)|others)\b",
    r"\b(?:or|vs\.?|versus|than|between|compare[ds]?|rather|against)\b",
    r"\b(?:recommend\w*|suggest\w*|something|next|tonight|top)\b",
    r"\b(?:know|remember|stored|have|think|profile|data|tastes?|preferences)\b.*\b(?:me|my|I)\b"
    r"|\bmy (?:profile|data|tastes?|preferences|likes|reviews)\b",
    r"^(?:no|wrong|actually|not true|nope|sorry|note|remember|false)\b",
)
_NAMED = re.compile(r"\[([^\]]+)\]")


class Turn(StrEnum):
    """What a turn asks for."""

    WHY = "why"
    """Whether and why the user would like an item."""
    FOLLOW_UP = "follow_up"
    """One aspect of an item."""
    COMPARE = "compare"
    """Which of two items is more to the user's taste."""
    WHAT_IF = "what_if"
    """How it would be with another taste."""
    CORRECT = "correct"
    """A statement of taste, to be kept."""
    PROFILE = "profile"
    """What is known of the user."""
    FORGET = "forget"
    """That something, or all, known of the user is deleted."""
    REVIEW = "review"
    """A review or rating to be added."""
    RECOMMEND = "recommend"
    """What the user would like, with no item named."""
    OTHER = "other"
    """Anything else."""


class Routed(Record):
    """Where a turn goes."""

    turn: Turn
    probability: float
    second: Turn
    """The next likely."""

    @property
    def sure(self) -> bool:
        """Whether it need not be asked about."""
        return self.probability >= SURE


class Utterance(Record):
    """A labelled turn."""

    text: str
    masked: str
    """The same with `MASK` for each item that it names."""
    named: int
    """How many items it names."""
    turn: Turn


class _Taught(NamedTuple):
    words: TfidfVectorizer
    weights: NDArray[np.float32]
    """`[features, turns]`."""
    intercepts: NDArray[np.float32]
    turns: list[Turn]


class TurnRouter:
    """Tells turns apart. Safe to use from several threads."""

    def __init__(self, embedder: Embedder, cache: Path | None = None, learned: Sequence[Utterance] = ()) -> None:
        """Make a router, which is taught at its first use, in some seconds.

        Args:
            embedder: Makes vectors.
            cache: Folder where what it learned is kept for the next time.
            learned: What it learns from in place of the utterances that come along.
        """
        self._embedder = embedder
        self._cache = cache
        self._learned = learned or utterances()

    def route(self, text: str, spans: Sequence[tuple[int, int]] = ()) -> Routed:
        """Where a turn goes.

        Args:
            text: What the user typed.
            spans: Where in it items are named, as starts and ends in characters.
        """
        taught = self._taught
        places = sorted(set(spans))
        [features] = self._features(taught.words, [masked(text[:LONGEST], places)], [len(places)])
        shares = softmax(features @ taught.weights + taught.intercepts)
        best, second = np.argsort(-shares)[:2]
        return Routed(turn=taught.turns[best], probability=round(float(shares[best]), 3), second=taught.turns[second])

    @cached_property
    def _taught(self) -> _Taught:
        rows = [(each.masked, each.named, each.turn) for each in self._learned]
        # Once more as where the item is not recognised.
        rows += [(each.text, 0, each.turn) for each in self._learned if each.named]
        texts, named = [text for text, _, _ in rows], [count for _, count, _ in rows]
        words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD, sublinear_tf=True).fit(texts)
        turns = sorted({turn for _, _, turn in rows})
        made_of = digest([rows, self._embedder.name, constants(sys.modules[__name__]), sklearn.__version__])
        kept = self._cache / f"turns-{made_of[:16]}.npz" if self._cache else None
        if kept and kept.exists():
            with np.load(kept) as arrays:
                return _Taught(words, arrays["weights"], arrays["intercepts"], turns)
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000, tol=TOLERANCE)
        model.fit(self._features(words, texts, named), [turn.value for _, _, turn in rows])
        weights, intercepts = model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=kept.parent, suffix=".npz", delete=False) as part:
                np.savez_compressed(part, weights=weights, intercepts=intercepts)
            Path(part.name).replace(kept)  # whole or not at all, whoever makes it at the same time
        return _Taught(words, weights, intercepts, turns)

    def _features(self, words: TfidfVectorizer, texts: Sequence[str], named: Sequence[int]) -> NDArray[np.float32]:
        """`[n, features]`: the vector, the words, the signs."""
        counted = words.transform(texts).toarray().astype(np.float32)
        return np.hstack([self._embedder.embed(texts), counted, SIGNS * _signs(texts, named)])


def utterances() -> list[Utterance]:
    """The labelled utterances that come along."""
    text = resources.files("whylike.agents").joinpath("utterances.yaml").read_text(encoding="utf-8")
    return labelled(yaml.safe_load(text))


def labelled(listed: dict[str, list[str]]) -> list[Utterance]:
    """Utterances by what they ask for, in which names of items stand in [brackets]."""
    return [
        Utterance(
            text=_NAMED.sub(r"\1", text),
            masked=_NAMED.sub(MASK, text),
            named=len(_NAMED.findall(text)),
            turn=Turn(turn),
        )
        for turn, texts in listed.items()
        for text in texts
    ]


def bracketed(listed: dict[str, list[str]]) -> list[list[str]]:
    """The names in brackets of each of the same utterances."""
    return [_NAMED.findall(text) for texts in listed.values() for text in texts]


def masked(text: str, places: Sequence[Sequence[int]], mask: str = MASK) -> str:
    """The text with `mask` at each of the places (starts and ends), which are in order and apart."""
    for start, end in reversed(places):
        text = f"{text[:start]}{mask}{text[end:]}"
    return text


def _signs(texts: Sequence[str], named: Sequence[int]) -> NDArray[np.float32]:
    """The signs of each text, `[n, signs]`."""
    return np.array(
        [
            [
                *(bool(re.search(sign, text, re.IGNORECASE)) for sign in _SIGNS),
                count == 1,
                count > 1,
                text.rstrip().endswith("?"),
                len(text.split()) < FEW,
            ]
            for text, count in zip(texts, named, strict=True)
        ],
        dtype=np.float32,
    )
