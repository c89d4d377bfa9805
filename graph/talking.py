"""The nodes of a conversation that answer and write nothing: why, follow-up, compare, what if, profile, recommend."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from whylike.agents import attitudes, slots, wishes
from whylike.agents.matching import unfit
from whylike.agents.phrases import phrases
from whylike.agents.reasoner import quoted
from whylike.agents.spoken import Spoken, described, spoken
from whylike.agents.stems import stems
from whylike.agents.wishes import Wish
from whylike.dates import day
from whylike.graph.hearing import HELP, called, focused, resolved, without_names
from whylike.graph.profiles import profile_now, read_for
from whylike.graph.saying import (
    QUOTED,
    SHOWS,
    explained,
    tell_against,
    tell_effect,
    tell_effects,
    tell_rating,
    tell_reason,
    tell_sentence,
    tell_sureness,
    tell_tastes,
)
from whylike.graph.shortlist import LOOKED_AT, shortlist
from whylike.graph.sides import described as known
from whylike.graph.talk import GREETING, Talk, Talking, Voice, traced
from whylike.memory.embeddings import Embedder
from whylike.memory.history import history
from whylike.records import Preference, Review, Side

READ = 60
"""Newest reviews of an item that an answer about one aspect looks through."""
LIKED = 3
"""Items that are recommended."""
ALIKE = 0.15
"""Share of the rating scale below which two expectations are too close to call."""
COMMON = 0.2
"""Share of stop words up to which what was said may not be English."""
SUPPOSED = "supposed"
"""Id of what a user is only supposed to have said."""

_WORD = re.compile(r"[^\W\d_]+")
_PARTING = re.compile(
    r"^\W*(?:(?:good)?bye(?:[ -]bye)?|good night|see (?:you|ya)(?: later)?|farewell|quit|exit)\W*$", re.IGNORECASE
)
_HELPLESS = re.compile(
    r"^\W*(?:help(?: me)?|what (?:can|could|do) (?:you|i) (?:do|ask|say)(?: (?:here|for me|with you|you))?"
    r"|how does this work|who are you|what are you)\W*$",
    re.IGNORECASE,
)
_SURE = re.compile(
    r"\bhow (?:sure|certain|confident|reliable|accurate|exact|precise|often are you)\b|\bare you (?:sure|certain)\b",
    re.IGNORECASE,
)
_AGAINST = re.compile(
    r"\bwhy(?:\s+[\w'’]+){0,5}?\s+(?:not|(?:wo|would|should|might|could|do)n['’]?t|hate|dislike|disappoint|bore)\b",
    re.IGNORECASE,
)
"""How the case against an item is asked for."""
_BARE_WHY = re.compile(r"^\W*(?:\w+\W+)?why\s+(?:so|only|such|\d|(?:is|was)?\s*(?:it|that|this)\b)", re.IGNORECASE)
"""How a why begins that is of what was said last, and describes no item."""


@traced
def why(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Whether and why the user would like an item."""
    sure, last = bool(_SURE.search(state["said"])), state.get("focus", [])[:1]
    found = resolved(state, runtime, 1, describing=not (sure or (last and _BARE_WHY.match(state["said"]))))
    if isinstance(found, Command):
        return found
    voice = Voice(state, runtime)
    explanation = explained(voice, runtime, state["user_id"], found[0])
    if sure:
        tell_sureness(voice, runtime, explanation)
    elif _AGAINST.search(without_names(state)):
        if found != last:
            tell_rating(voice, runtime, explanation)
        tell_against(voice, runtime, explanation)
    else:
        tell_rating(voice, runtime, explanation)
        tell_reason(voice, explanation)
        tell_effects(voice, explanation)
    return Command(update=voice.done(items=[[found[0]]], focus=focused(state, found)), goto="close")


@traced
def follow_up(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """What the reviews of an item say of one thing."""
    found = resolved(state, runtime, 1, describing=False)
    if isinstance(found, Command):
        return found
    services, voice = runtime.context.services, Voice(state, runtime)
    store, item_id = services.store, found[0]
    name = called(runtime, item_id)
    asked = [_beside(about, name) for about in slots.aspects(without_names(state))]
    reviews = history(store, state["user_id"], item_id, services.now() + 1, READ).item_reviews
    if not reviews:
        voice.say(f"Nobody has reviewed {name} yet, so I cannot tell.")
    elif not asked:
        _telling_most(voice, runtime, state, item_id)
    else:
        for about in asked:
            _telling_of(voice, runtime, item_id, reviews, about)
    return Command(update=voice.done(items=[[item_id]], focus=focused(state, found)), goto="close")


@traced
def compare(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Which of two items is more to the user's taste."""
    found = resolved(state, runtime, 2)
    if isinstance(found, Command):
        return found
    voice = Voice(state, runtime)
    answers = [explained(voice, runtime, state["user_id"], item_id) for item_id in found]
    store = runtime.context.services.store
    own = {item_id: written for item_id in found if (written := store.review_of(state["user_id"], item_id))}
    worth = {
        each.item_id: own[each.item_id].rating if each.item_id in own else each.rating.expectation for each in answers
    }
    better, other = sorted(answers, key=lambda each: -worth[each.item_id])
    low, high = better.rating.scale[:2]
    names = {each.item_id: called(runtime, each.item_id) for each in answers}
    by = (
        f"I expect {worth[better.item_id]:.1f} of {high:g} for {names[better.item_id]} "
        f"and {worth[other.item_id]:.1f} for {names[other.item_id]}"
    )
    if own:
        gave = " and ".join(f"{names[item_id]} {written.rating:g}" for item_id, written in own.items())
        guessed = [
            f", and I expect {worth[item_id]:.1f} for {names[item_id]}" for item_id in found if item_id not in own
        ]
        by = f"you gave {gave}{''.join(guessed)}"
    near = worth[better.item_id] - worth[other.item_id] < ALIKE * (high - low)
    verdict = "Too near to call" if near else f"Rather {names[better.item_id]} than {names[other.item_id]}"
    voice.say(f"{verdict}: {by}.")
    for each in (better, other):
        sentences = each.reason.sentences if each.reason else []
        if each.item_id in own:
            written = own[each.item_id]
            wrote = next((one for one in phrases(written.title, written.text) if not unfit(one)), "")
            said = f", and wrote “{quoted(wrote)}”" if wrote else ""
            gave = f"{names[each.item_id]}: you gave it {written.rating:g} yourself{said}."
            voice.say(gave, [written.review_id], line=True)
            continue
        for number, sentence in enumerate(sentences[:2]):
            tell_sentence(voice, sentence, begin=f"{names[each.item_id]}: " if number == 0 else "", bare=True)
        tell_effects(voice, each)
    return Command(update=voice.done(items=[[id_] for id_ in found], focus=focused(state, found)), goto="close")


@traced
def what_if(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """How it would be with another taste; nothing of it is kept."""
    statement = attitudes.read(state["said"])
    voice = Voice(state, runtime)
    if statement is None:
        voice.say(
            "I did not catch what would be otherwise; say it as “if I liked …”, “if I disliked …” or “if I didn't "
            "mind …”."
        )
        return Command(update=voice.done(), goto="close")
    found = resolved(state, runtime, 1, describing=False)
    if isinstance(found, Command):
        return found
    user_id, item_id = state["user_id"], found[0]
    supposed = Preference(
        preference_id=SUPPOSED,
        user_id=user_id,
        attitude=statement.attitude,
        about=statement.about,
        stated_at=runtime.context.services.now(),
    )
    before = explained(voice, runtime, user_id, item_id)
    after = explained(voice, runtime, user_id, item_id, [supposed])
    effect = after.stated[0]
    name = called(runtime, item_id)
    told = attitudes.supposed(statement)
    old, new = before.rating.expectation, after.rating.expectation
    if abs(new - old) >= SHOWS:
        way = "up" if new > old else "down"
        voice.say(f"If {told}, the rating that I expect for {name} would go {way}, from {old:.1f} to {new:.1f}.")
    else:
        voice.say(f"If {told}, nothing would change: I would still expect {old:.1f} for {name}.")
    tell_effect(voice, effect, after)
    changed = [
        each
        for each in (after.reason.sentences if after.reason else [])
        if before.reason is None or each.text not in {other.text for other in before.reason.sentences}
    ]
    if changed and abs(new - old) >= SHOWS:
        voice.say("I would then say:", line=True)
        for sentence in changed:
            tell_sentence(voice, sentence)
    voice.say("This is only supposed; nothing of it is kept.", line=True)
    return Command(update=voice.done(items=[[item_id]], focus=focused(state, found)), goto="close")


@traced
def profile(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """What is known of the user."""
    services, user_id, voice = runtime.context.services, state["user_id"], Voice(state, runtime)
    said = services.store.preferences(user_id)
    found = profile_now(
        services, Side.USER, user_id, lambda event: voice.working("reading your reviews", event.done, event.total)
    )
    rated = history(services.store, user_id, "", services.now() + 1, 1).user_rated
    if rated.count and rated.average is not None:
        many = f"{rated.count} reviews" if rated.count > 1 else "one review"
        voice.say(f"I have {many} by you, with {rated.average:.1f} of {services.store.scale.maximum:g} on average.")
    else:
        voice.say("I have no reviews by you.")
    if found:
        tell_tastes(voice, runtime, read_for(services.store, found, services.settings.history))
    for each in said:
        told = attitudes.told(each)
        voice.say(f"On {day(each.stated_at)} you said that {told}.", line=True)
    voice.say(
        "Correct me (“no, I love long films”) or have me forget it (“forget that I like …”, “forget me”).", line=True
    )
    return Command(update=voice.done(), goto="close")


@traced
def recommend(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """The best of what the user has not reviewed, by rating."""
    services, user_id, voice = runtime.context.services, state["user_id"], Voice(state, runtime)
    wish = wishes.read(without_names(state))
    ranked = shortlist(
        services,
        user_id,
        LOOKED_AT if wish else LIKED,
        told=lambda done, total: voice.working("rating items", done, total),
    )
    fit = [] if wish is None else list(islice(_meeting(wish, runtime, user_id, ranked), LIKED))
    best = fit or ranked[:LIKED]
    if not best:
        voice.say("There is nothing that you have not reviewed yet.")
        return Command(update=voice.done(), goto="close")
    answers = [explained(voice, runtime, user_id, item_id) for item_id in best]
    answers.sort(key=lambda each: -each.rating.expectation)
    if wish and not fit:
        voice.say(
            f"Of the best rated that you have not reviewed I found nothing that {wish.told()} in its description or by "
            "its reviewers."
        )
    of = f" and {wish.told()} in its description or by its reviewers" if wish and fit else ""
    voice.say(f"Of what you have not reviewed{of}, I expect you to like most:", line=True)
    for number, each in enumerate(answers, start=1):
        high = each.rating.scale[1]
        begin = f"{number}. {called(runtime, each.item_id)} ({each.rating.expectation:.1f} of {high:g}). "
        if each.reason and each.reason.sentences:
            tell_sentence(voice, each.reason.sentences[0], begin=begin, bare=True)
        else:
            voice.say(begin.strip(), line=True)
    ids = [each.item_id for each in answers]
    return Command(update=voice.done(focus=focused(state, ids)), goto="close")


@traced
def other(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Anything else: a greeting or thanks, what can be asked, or that this cannot."""
    voice, said = Voice(state, runtime), state["said"]
    if re.search(r"\b(?:thanks?|thank you|cheers|great|nice)\b", said, re.IGNORECASE):
        voice.say("You are welcome.")
    elif _HELPLESS.search(said):
        voice.say(HELP)
    elif GREETING.search(said):
        voice.say("Hello. Ask me whether you would like something; /help says what else I can do.")
    elif _PARTING.search(said):
        voice.say("Goodbye; /quit ends the conversation, which can be gone on with later.")
    elif _english(said):
        voice.say("That is not something I can help with; /help says what is.")
    else:
        voice.say("I cannot help with that, or it is not English, which is all I understand; /help says what I can do.")
    return Command(update=voice.done(), goto="close")


def _meeting(wish: Wish, runtime: Runtime[Talking], user_id: str, ranked: Sequence[str]) -> Iterator[str]:
    """Those of the items that are what is asked for."""
    services = runtime.context.services
    for item_id in ranked:
        reviews = history(services.store, user_id, item_id, services.now() + 1, READ).item_reviews
        if wish.met(known(services.store.item(item_id)), reviews):
            yield item_id


def _english(said: str) -> bool:
    """Whether as many of the words as English has them are its commonest."""
    words = _WORD.findall(said.lower())
    return sum(word in ENGLISH_STOP_WORDS for word in words) > COMMON * len(words)


def _beside(about: str, name: str) -> str:
    """What is asked about without the words of the item's name: “safe kids” of “is the toaster safe for kids?”."""
    known = set(stems(name.lower().split()))
    words = [word for word, stem in zip(about.split(), stems(about.lower().split()), strict=True) if stem not in known]
    return " ".join(words) or about


def _telling_of(voice: Voice, runtime: Runtime[Talking], item_id: str, reviews: Sequence[Review], about: str) -> None:
    """What some reviews of the item, and its description, say of one thing."""
    services, name = runtime.context.services, called(runtime, item_id)
    found = spoken(reviews, about, services.embedder)
    told = [each for each in found if each.named] or found
    item = services.store.item(item_id)
    sentence = described(item.description, about) if item else ""
    many = f"the {len(reviews)} reviews of {name} that I read" if len(reviews) > 1 else f"the one review of {name}"
    if told and told[0].named:
        count = f"{len(told)} of {many}" if len(reviews) > 1 else many[0].upper() + many[1:]
        voice.say(f"{count} {'speaks' if len(told) == 1 else 'speak'} of “{about}”.")
    elif told:
        voice.say(f"None of {many} speaks of “{about}” in these words; this comes nearest.")
    else:
        word, told = _in_part(reviews, about, services.embedder)
        less = f"; {len(told)} {'speaks' if len(told) == 1 else 'speak'} of “{word}”" if told else ""
        voice.say(f"None of {many} says anything of “{about}”, so I cannot tell{less}.")
    for each in told[:QUOTED]:
        voice.say(
            f"One that gave it {each.review.rating:g} of {services.store.scale.maximum:g}: “{quoted(each.phrase)}”.",
            [each.review.review_id],
        )
    if sentence:
        voice.say(f"Its description says: “{quoted(sentence)}”.")


def _in_part(reviews: Sequence[Review], about: str, embedder: Embedder) -> tuple[str, list[Spoken]]:
    """The one of several words that most reviews have as it is, and those: “ending” of “ending sad”."""
    words = about.split() if " " in about else []
    named = {word: [each for each in spoken(reviews, word, embedder) if word in each.phrase.lower()] for word in words}
    return max(named.items(), key=lambda each: len(each[1]), default=("", []))


def _telling_most(voice: Voice, runtime: Runtime[Talking], state: Talk, item_id: str) -> None:
    """What the item's reviewers praise, or blame, most clearly; where neither is asked for, both."""
    said = state["said"].lower()
    blame = bool(re.search(r"\b(?:worst|bad|dislike|hate|wrong|complain\w*|against|negative|weak\w*)\b", said))
    praise = bool(re.search(r"\b(?:best|good|like|love|praise\w*|positive|strong\w*)\b", said))
    explanation = explained(voice, runtime, state["user_id"], item_id)
    theirs = [each for each in explanation.evidence if each.item_id == item_id]
    sides = [
        ("likes", "praise", "praise", praise or not blame),
        ("dislikes", "blame", "complaint", blame or not praise),
    ]
    for listed, own, noun, wanted in sides:
        if not wanted:
            continue
        told = [
            (phrase, each)
            for each in theirs
            for phrase in (
                (getattr(each.summary, own) or ()) if each.summary.praise is not None else getattr(each.summary, listed)
            )[:1]
        ]
        if not told:
            voice.say(f"I found no {noun} in the {len(theirs)} reviews that I read.")
        for phrase, each in told[:QUOTED]:
            voice.say(f"One that gave it {each.rating:g}: “{quoted(phrase)}”.", [each.id])
