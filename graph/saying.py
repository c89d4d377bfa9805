"""What the nodes of a conversation say of an explanation: the rating, the reason, and what the user's own words did."""

from __future__ import annotations

import re
from collections.abc import Sequence

from langgraph.runtime import Runtime

from whylike.agents import attitudes
from whylike.agents.distributions import COVERED
from whylike.agents.matching import MIDDLING, stands, unfit
from whylike.agents.reasoner import quoted
from whylike.agents.voice import to_you
from whylike.dates import day
from whylike.explanation import Effect, Explanation, Rating, Sentence
from whylike.graph.hearing import called
from whylike.graph.pair import explain_fully
from whylike.graph.state import Event, Json
from whylike.graph.talk import Talking, Voice
from whylike.records import Attitude, Preference, Review, ReviewSummary, Side

QUOTED = 3
"""Reviews that are quoted of those that speak of one thing."""

TOLD = 4
"""Things that the user liked, and as many that they disliked, which are told of them."""

SHOWS = 0.05
"""Difference of two ratings that shows with one decimal."""

_LEAD = re.compile(r"^[^“:]+: (?=\S)")


def explained(
    voice: Voice, runtime: Runtime[Talking], user_id: str, item_id: str, supposing: Sequence[Preference] = ()
) -> Explanation:
    """The explanation of a pair; what ran for it goes into the trace."""
    ran: list[Json] = []

    def told(event: Event) -> None:
        if event.node == "summarize":
            voice.working("reading reviews", event.done, event.total)

    explanation, _ = explain_fully(
        runtime.context.services,
        user_id,
        item_id,
        supposing=supposing,
        on_event=told,
        on_node=lambda name, seconds: ran.append({"node": name, "seconds": round(seconds, 4)}),
    )
    voice.ran(ran)
    return explanation


def tell_rating(voice: Voice, runtime: Runtime[Talking], explanation: Explanation) -> None:
    """Say what the user would rate an item and how sure that is, beside what they gave it themselves."""
    rating = explanation.rating
    best, within = rating.scale[1], _within(rating)
    name = called(runtime, explanation.item_id)
    own = runtime.context.services.store.review_of(explanation.user_id, explanation.item_id)
    if own and own.timestamp == explanation.as_of:
        voice.say(f"You gave {name} {own.rating:g} of {best:g} on {day(own.timestamp)}.", [own.review_id])
        said = ", and would have said:" if explanation.reason else "."
        voice.say(f"From what was known before, I would have expected {rating.expectation:.1f}, {within}{said}")
        return
    voice.say(f"{name}: I expect that you would give it {rating.expectation:.1f} of {best:g}, {within}.")


def _within(rating: Rating) -> str:
    """How sure a rating is."""
    low, high = rating.interval
    return f"with {COVERED:.0%} probability {f'between {low:g} and ' if low < high else ''}{high:g}"


def tell_reason(voice: Voice, explanation: Explanation) -> None:
    """Say why, a sentence at a time."""
    if not explanation.reason:
        voice.say("Nothing is known that a reason could rest on.")
        return
    for sentence in explanation.reason.sentences:
        tell_sentence(voice, sentence)


def tell_sureness(voice: Voice, runtime: Runtime[Talking], explanation: Explanation) -> None:
    """Say between what an expectation is sure, and how often that is right."""
    rating, name = explanation.rating, called(runtime, explanation.item_id)
    voice.say(
        f"For {name} I expect {rating.expectation:.1f}, {_within(rating)}: such a statement is made to hold in "
        f"{COVERED:.0%} of cases; in the others the rating lies outside."
    )


def tell_against(voice: Voice, runtime: Runtime[Talking], explanation: Explanation) -> None:
    """Say only what speaks against an item."""
    name = called(runtime, explanation.item_id)
    told = [each for each in explanation.reason.sentences if contrary(each, explanation)] if explanation.reason else []
    effects = [each for each in explanation.stated if each.shift < 0]
    if not told and not effects:
        voice.say(f"I found nothing that speaks against {name}.")
    for number, sentence in enumerate(told):
        tell_sentence(voice, sentence, begin="" if number else f"Against {name}: ", bare=True)
    for effect in effects:
        tell_effect(voice, effect, explanation)


def contrary(sentence: Sentence, explanation: Explanation) -> bool:
    """Whether a sentence of a reason goes against the item: what it quotes was said in blame.

    Where it quotes a review of the item, that decides; what it quotes of the user's own is only beside it.
    """
    rests = [each for each in explanation.evidence if each.id in sentence.evidence]
    about = [each for each in rests if each.item_id == explanation.item_id] or rests
    blamed = [phrase for each in about for phrase in (*each.summary.dislikes, *(each.summary.blame or ()))]
    if Side.ITEM in sentence.profiles:
        blamed += explanation.profiles.item.dislikes
    return any(f"“{quoted(phrase)}”" in sentence.text for phrase in blamed)


def tell_sentence(voice: Voice, sentence: Sentence, begin: str = "", *, bare: bool = False) -> None:
    """Say a sentence of a reason.

    Args:
        voice: Says it.
        sentence: Of the reason.
        begin: What stands before it, in a line of its own.
        bare: Whether to leave out how the reason begins as a whole, where it is one of several.
    """
    unsure = "" if sentence.supported else " (no review bears this out)"
    text = to_you(sentence.text)
    if bare:
        text = _LEAD.sub("", text)
    voice.say(f"{begin}{text[0].upper()}{text[1:]}{unsure}", sentence.evidence, line=bool(begin))


def tell_effects(voice: Voice, explanation: Explanation) -> None:
    """Say what of all that the user said moves the rating of an item."""
    for effect in explanation.stated:
        if effect.shift:
            tell_effect(voice, effect, explanation)


def tell_effect(voice: Voice, effect: Effect, explanation: Explanation) -> None:
    """Say what something that the user said does to the rating, and why."""
    told = attitudes.told(effect)
    theirs = [each for each in effect.reviews if any(known.id == each for known in explanation.evidence)]
    who = f"{len(theirs)} of the {effect.of} reviews that I read speak{'s' if len(theirs) == 1 else ''} of it"
    if effect.described:
        who = f"its description names it, and {who}" if theirs else "its description names it"
    elif not theirs:
        read = f"the {effect.of} reviews that I read say" if effect.of > 1 else "any review that I read says"
        voice.say(f"Of “{effect.about}” neither its description nor {read} anything.")
        return
    if abs(effect.shift) < 0.005:  # noqa: PLR2004 - of what is rounded to hundredths
        none = (
            "but your reviews do not suggest that you minded"
            if effect.attitude is Attitude.INDIFFERENT
            else "either way"
        )
        voice.say(f"That {told}: {who}, {none}.", theirs[:QUOTED])
    else:
        way = "for" if effect.shift > 0 else "against"
        voice.say(f"That {told} speaks {way} it: {who}.", theirs[:QUOTED])


def tell_tastes(voice: Voice, runtime: Runtime[Talking], read: Sequence[tuple[Review, ReviewSummary]]) -> None:
    """Say what the user liked and disliked of late, in their own words, each with the item that it was said of.

    Praise in a review of a bad rating is left out: it is often mockery.
    """
    scale = runtime.context.services.store.scale
    own = [(review, summary.quoted()) for review, summary in read]
    praise = [(review, words.likes) for review, words in own if scale.place(review.rating) >= MIDDLING]
    blame = [(review, words.dislikes) for review, words in own]
    for verb, side in (("liked", praise), ("disliked", blame)):
        told = [(review, phrase) for review, phrases in side if (phrase := _telling(phrases))][:TOLD]
        parts = [
            f"{'in' if number else 'In'} {called(runtime, review.item_id)}{'' if number else f' you {verb}'} "
            f"“{quoted(phrase)}”"
            for number, (review, phrase) in enumerate(told)
        ]
        if parts:
            listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
            voice.say(f"{listed}.", [review.review_id for review, _ in told], line=True)


def _telling(phrases: Sequence[str]) -> str:
    """The clearest phrase that says something by itself, else the clearest; empty where none can be quoted."""
    fit = [phrase for phrase in phrases if not unfit(phrase)]
    return next(filter(stands, fit), fit[0] if fit else "")
