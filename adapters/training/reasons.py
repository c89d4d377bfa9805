"""Examples for the Reasoner: a teacher's reasons, each with the parts that it was made of.

Of what the teacher was shown, the plan holds what the reason speaks of; of the reason, the example keeps the sentences
that speak of little else, and of their lists the members that the plan has. So the student learns to tell what it is
given, and not to add to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import dropwhile
from operator import itemgetter

from whylike.adapters.training.examples import Example
from whylike.agents import plans
from whylike.agents.grounding import split_sentences
from whylike.agents.plans import Plan, Stance, claims
from whylike.agents.ratings import states_rating
from whylike.memory.annotations import Occasion
from whylike.records import Aspects, ReasonAnnotation, ReasonDecision

TOLD = 0.75
"""Share of a sentence's claiming words that the plan must hold for the sentence to be kept."""
LEAST = 2
"""Sentences that must be left."""
_AGAINST = re.compile(
    r"\b(?:unlikely|disappoint\w*|(?:may|might|would|will|could|does|do)(?: not|n't) "
    r"(?:be|like|enjoy|fully|align|find|have)|not enjoy|not (?:be )?satisf\w+)\b",
    re.IGNORECASE,
)
_YET = re.compile(r"\blikely (?:that the user will|to) enjoy\b|\bmay still\b", re.IGNORECASE)
_MIXED = re.compile(r"\b(?:however|although|despite|mixed|some aspects|on the other hand)\b", re.IGNORECASE)
_JOINS = re.compile(
    r"^(?:Additionally|However|Furthermore|Moreover|Overall|Also|Therefore|In conclusion|On the other hand|Since)\b"
    r",?\s*"
)
_TASTE = re.compile(r"(?:Based on )?(?:[Tt]he|This) user\b(?!.*\b(?:may|might|will|would|likely|could)\b)|They\b")
"""How a sentence begins that says what the user likes, and nothing of the item."""
_DANGLING = re.compile(r"(?:It|They|This|These|Both|While)\b")
"""How no reason begins."""
_REWORDED = (
    (re.compile(r"(?:the )?(?:new|recommended)(?: new)? (?:item|digital music|album),? (?=\")", re.IGNORECASE), ""),
    (re.compile(r"(?:\bthe|\bthis)? ?(?:new|recommended) (?:item|digital music|album)", re.IGNORECASE), " this item"),
    (re.compile(r"\b(?:digital music )?album\b", re.IGNORECASE), "item"),
    (re.compile(r"\balbums\b", re.IGNORECASE), "items"),
    (re.compile(r" in (?:their |the )?(?:digital )?music(?= they listen to)?(?=[,.])", re.IGNORECASE), ""),
)
"""What ties a teacher's words to one catalogue, and what stands there instead."""


def reason_examples(
    written: Iterable[tuple[ReasonAnnotation, Occasion | None]], authors: Mapping[str, str] | None = None
) -> list[Example]:
    """What a teacher's reasons teach; those about one item form a group, or where it is not known, of one title.

    Args:
        written: Each with its occasion, if that is known.
        authors: Who wrote the reviews that the teacher was given to read, by id.
    """
    made = ((occasion, _example(annotation)) for annotation, occasion in written)
    return [
        example
        if occasion is None
        else example.model_copy(
            update={"group": occasion.item_id, "users": _users(occasion.user_id, occasion.reviews, authors)}
        )
        for occasion, example in made
        if example
    ]


def decided_examples(decisions: Iterable[ReasonDecision], authors: Mapping[str, str] | None = None) -> list[Example]:
    """What reasons teach that the reward expert let pass; those of one item form a group.

    Of what one writer wrote of a pair the latest decision counts, so that what another reward expert or tau let pass
    and the latest did not is not learned.

    Args:
        decisions: The oldest first.
        authors: Who wrote the reviews that their writers were told of, by id.
    """
    latest = {(each.review_id, each.sampler): each for each in decisions if each.outcome != "failed"}
    made = ((each, _example(each.annotation)) for _, each in sorted(latest.items()) if each.annotation)
    return [
        example.model_copy(update={"group": each.item_id, "users": _users(each.user_id, each.read, authors)})
        for each, example in made
        if example
    ]


def _users(user_id: str, read: Iterable[str], authors: Mapping[str, str] | None) -> frozenset[str]:
    """Of whom an example tells something: for whom it was written, and who wrote what was read for it."""
    known = authors or {}
    return frozenset({user_id, *(known[review] for review in read if review in known)})


def _example(annotation: ReasonAnnotation) -> Example | None:
    title = claims(annotation.title)
    sentences = [
        one
        for one in split_sentences(annotation.text, [annotation.title])
        if not states_rating(one) and len(one.split()) > 1
    ]
    claimed = [claims(one) - title for one in sentences]
    plan = Plan(
        title=annotation.title,
        enjoys=_told((*annotation.user_likes, *annotation.user_preferences), claimed),
        minds=_told(annotation.user_dislikes, claimed),
        praised=_told(annotation.item_likes, claimed),
        faulted=_told(annotation.item_dislikes, claimed),
        stance=_stance(annotation.text),
    )
    of_user = claims(" ".join((*plan.enjoys, *plan.minds)))
    given = of_user | claims(" ".join((*plan.praised, *plan.faulted)))
    known = [title | (of_user if _TASTE.match(one) else given) for one in sentences]
    pruned = [_pruned(one, stems) for one, stems in zip(sentences, known, strict=True)]
    kept = [one for one, stems in zip(pruned, known, strict=True) if _share(one, stems) >= TOLD]
    kept = list(dropwhile(lambda one: _DANGLING.match(_JOINS.sub("", one)), kept))
    if len(kept) < LEAST or not given:
        return None
    answer = _reworded([_JOINS.sub("", kept[0]), *kept[1:]])
    return Example(prompt=plans.request(plan).prompt, answer=answer, group=annotation.title)


def _pruned(sentence: str, known: set[str]) -> str:
    """The sentence without the members of its lists, but the first and the last, that claim what is not known."""
    first, *rest = sentence.split(", ")
    if len(rest) < 2:  # noqa: PLR2004 - no member between the first and the last
        return sentence
    *middle, last = rest
    kept = [part for part in middle if _share(part, known) >= TOLD]
    if not kept and last.startswith("and "):
        return f"{first} {last}"
    return ", ".join((first, *kept, last))


def _share(text: str, known: set[str]) -> float:
    """The share of a text's claims that are known; 1 where it claims nothing."""
    said = claims(text)
    return len(said & known) / len(said) if said else 1.0


def _told(aspects: Sequence[str], claimed: Sequence[set[str]]) -> Aspects:
    """The aspects of which a sentence speaks, the first told first; of those that say the same or less only one."""
    found: dict[frozenset[str], tuple[int, str]] = {}
    for aspect in aspects:
        stems = frozenset(claims(aspect))
        place = next((number for number, said in enumerate(claimed) if stems and stems <= said), None)
        if place is not None and stems not in found:
            found[stems] = (place, aspect)
    whole = [said for stems, said in found.items() if not any(stems < other for other in found)]
    return tuple(aspect for _, aspect in sorted(whole, key=itemgetter(0)))[: plans.MOST]


def _stance(text: str) -> Stance:
    if _AGAINST.search(text):
        return Stance.MIXED if _YET.search(text) else Stance.AGAINST
    return Stance.MIXED if _MIXED.search(text) else Stance.FOR


def _reworded(sentences: Sequence[str]) -> str:
    """The sentences as one text, without what ties them to one catalogue, each begun with a capital."""
    told = []
    for sentence in sentences:
        for pattern, instead in _REWORDED:
            sentence = pattern.sub(instead, sentence)  # noqa: PLW2901
        one = " ".join(sentence.split())
        told.append(one[:1].upper() + one[1:])
    return " ".join(told)
