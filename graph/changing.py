"""The nodes of a conversation that write: a stated preference, a review, forgetting, a newcomer's first answers.

Nothing is written that was not shown and agreed to in so many words; an answer that is neither yes nor no is a turn of
its own, and nothing is written. What a turn writes has an id made of the session and the turn, so that a node that runs
again after a crash writes it once.
"""

from __future__ import annotations

import re
from textwrap import shorten
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from whylike.agents import attitudes, slots
from whylike.agents.attitudes import Statement
from whylike.agents.reasoner import quoted
from whylike.agents.recipe import digest
from whylike.agents.stems import names
from whylike.agents.turns import Turn
from whylike.dates import day
from whylike.graph import profiles
from whylike.graph.hearing import called, focused, resolved, reviews, without_names
from whylike.graph.saying import SHOWS, explained
from whylike.graph.state import Json
from whylike.graph.talk import GREETING, Talk, Talking, Voice, ask, traced
from whylike.records import Attitude, Preference, RatingScale, Review

FORGET = "forget me"
"""What the user types to have all deleted."""
INTRODUCTION = (
    (
        "You are new here. Three short questions, so that I know your taste (“skip” to pass): what do you look for?",
        "like",
    ),
    ("What puts you off?", "dislike"),
    ("Is there something that others complain of and you do not mind?", "indifferent"),
)
"""What a newcomer is asked, and the attitude that the answer tells of."""
REQUESTS = (Turn.WHY, Turn.COMPARE, Turn.RECOMMEND, Turn.REVIEW)
"""What a newcomer may ask in place of an answer."""
CLEAR = 0.8
"""Probability from which that is what it is."""
_ONE = re.compile(r"\b(?:review|rating|stars)\b(?! (?:and|or) everything)", re.IGNORECASE)
"""How one review is spoken of, and not all."""
_LATEST = re.compile(r"\b(?:last|latest|newest|yesterday)\b", re.IGNORECASE)
SHOWN = 120
"""Characters of a review that is to be deleted that are shown."""
HOW = "Say it as “I like …”, “I dislike …” or “I don't mind …”."


_TAKEN_BACK = re.compile(
    r"^\W*(?:please |pls |can you |could you |no,? )*"
    r"(?:forget|unlearn|delete|erase|remove|scrap|scratch|drop|bin|don['’]?t remember)\b",
    re.IGNORECASE,
)
"""How a turn begins that takes something back, whatever the router makes of it."""


@traced
def correct(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Show back what the user said of their own taste."""
    services = runtime.context.services
    if _TAKEN_BACK.search(state["said"]):
        return Command(update={"way": Turn.FORGET.value}, goto=Turn.FORGET.value)
    statements = attitudes.read_all(state["said"])
    if not statements:
        voice = Voice(state, runtime)
        voice.say(f"I did not catch what I should note. {HOW}")
        return Command(update=voice.done(), goto="close")
    new = [_preference(state, runtime, each, number) for number, each in enumerate(statements)]
    gone = {
        old.preference_id: old for each in new for old in profiles.replaced(services.store, services.embedder, each)
    }
    instead = "".join(f", in place of “{attitudes.told(each)}”" for each in gone.values())
    question = ask(
        f"I would note that {attitudes.told(*new)}{instead}; it counts for more than what your reviews suggest. "
        "Shall I? (yes or no)",
        "note",
    )
    update: Json = {"question": question, "statements": [each.model_dump(mode="json") for each in new]}
    return Command(update=update, goto="ask")


@traced
def note(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Keep what the user said of their own taste, if they agree."""
    services, voice = runtime.context.services, Voice(state, runtime)
    agreed = slots.agrees(state["answer"])
    if not agreed:
        return _declined(state, voice, agreed, "I have not noted it.")
    new = [Preference.model_validate(each) for each in state["statements"]]
    user_id, focus = state["user_id"], state.get("focus", [])[:1]
    before = [explained(voice, runtime, user_id, item_id) for item_id in focus]
    for each in new:
        profiles.note(services.store, services.embedder, each)
    voice.say(f"Noted: {attitudes.told(*new)}.")
    for old in before:
        now = explained(voice, runtime, user_id, old.item_id).rating.expectation
        was, name = old.rating.expectation, called(runtime, old.item_id)
        if abs(now - was) >= SHOWS:
            voice.say(f"For {name} I now expect {now:.1f} in place of {was:.1f}.")
    return Command(update=voice.done(), goto="close")


@traced
def forget(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Ask whether to forget one review, one thing that the user said, or all that is stored of them."""
    store, user_id = runtime.context.services.store, state["user_id"]
    if _ONE.search(without_names(state)):
        return _forget_review(state, runtime)
    earlier = store.preferences(user_id)
    meant = [each for each in earlier if names(state["said"], each.about)]
    if meant:
        question = ask(f"Shall I forget that you said {attitudes.told(*meant)}? (yes or no)", "unsay")
        ids = [each.preference_id for each in meant]
        return Command(update={"question": question, "draft": {"ids": ids}}, goto="ask")
    if attitudes.read(state["said"]):
        voice = Voice(state, runtime)
        said = ", ".join(attitudes.told(each) for each in earlier)
        voice.say(f"You have not told me that, but: {said}." if said else "You have told me nothing of your taste.")
        return Command(update=voice.done(), goto="close")
    question = ask(
        "I would delete all that is stored of you: your reviews and ratings, what was made of them, what you said of "
        f"your taste, and this conversation. That cannot be undone. Type “{FORGET}” once more if you want that.",
        "erase",
    )
    return Command(update={"question": question}, goto="ask")


def _forget_review(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Ask whether to delete one review."""
    store, user_id, voice = runtime.context.services.store, state["user_id"], Voice(state, runtime)
    known = store.user_reviews(user_id, 1) if _LATEST.search(state["said"]) and not state.get("items") else []
    if not known:
        found = resolved(state, runtime, 1, describing=False)
        if isinstance(found, Command):
            return found
        known = store.pair_reviews(user_id, found[0])
        if not known:
            voice.say(f"I have no review of {called(runtime, found[0])} by you, so there is nothing to delete.")
            return Command(update=voice.done(), goto="close")
    written = known[0]
    words = quoted(shorten(written.text, SHOWN, placeholder=" …"))
    question = ask(
        f"I would delete your review of {called(runtime, written.item_id)} of {day(written.timestamp)}, "
        f"{written.rating:g} of {store.scale.maximum:g}, “{words}”, with what was made of it and our "
        "conversations, which may quote it. That cannot be undone. Shall I? (yes or no)",
        "unreview",
    )
    return Command(update={"question": question, "draft": {"review_id": written.review_id}}, goto="ask")


@traced
def unreview(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Have one review deleted, if they agree, when the turn is at its end: its thread may quote it."""
    voice = Voice(state, runtime)
    agreed = slots.agrees(state["answer"])
    if not agreed:
        return _declined(state, voice, agreed, "I keep it.")
    return Command(update=voice.done(removing=state["draft"]["review_id"]), goto="close")


@traced
def unsay(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Forget something that the user said, if they agree."""
    voice = Voice(state, runtime)
    agreed = slots.agrees(state["answer"])
    if not agreed:
        return _declined(state, voice, agreed, "I keep it.")
    runtime.context.services.store.withdraw_preferences(state["user_id"], state["draft"]["ids"])
    voice.say("That is forgotten.")
    return Command(update=voice.done(), goto="close")


@traced
def erase(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """End the conversation, for all that is stored of the user to be deleted, if they typed that they want it."""
    voice = Voice(state, runtime)
    if state["answer"].strip(" .!“”\"'").lower() != FORGET:
        return _declined(state, voice, slots.agrees(state["answer"]) and None, "I have deleted nothing.")
    return Command(update=voice.done(ended=True), goto="close")


@traced
def review(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Read a review from a turn."""
    store = runtime.context.services.store
    bare = without_names(state)
    draft = {"rating": slots.rating(bare, store.scale), "text": _words(state["said"], bare, store.scale)}
    found = resolved(state, runtime, 1, describing=False, recalling=False)
    if isinstance(found, Command):
        return found
    return Command(update={"draft": {**draft, "item_id": found[0]}, "focus": focused(state, found)}, goto="fill")


@traced
def fill(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Ask for what a review still lacks; then show it back."""
    store, draft = runtime.context.services.store, state["draft"]
    name, scale = called(runtime, draft["item_id"]), store.scale
    if draft["rating"] is None:
        question = ask(f"What would you give {name}, from {scale.minimum:g} to {scale.maximum:g}?", "filled")
    elif not draft["text"]:
        question = ask(f"What do you say of {name}? A sentence is enough.", "filled")
    else:
        earlier = store.review_of(state["user_id"], draft["item_id"])
        beside = (
            f" It would count as what you gave it, in place of the {earlier.rating:g} of {day(earlier.timestamp)}, "
            "which is kept."
            if earlier
            else ""
        )
        question = ask(
            f"I would add your review of {name}: {draft['rating']:g} of {scale.maximum:g}, “{draft['text']}”.{beside} "
            "Shall I? (yes or no)",
            "add_review",
        )
    return Command(update={"question": question}, goto="ask")


@traced
def filled(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Take what a review lacked."""
    draft, answer, scale = state["draft"], state["answer"].strip(), runtime.context.services.store.scale
    voice = Voice(state, runtime)
    if reviews(runtime, answer):
        return Command(update={"said": answer}, goto="hear")
    agreed = slots.agrees(answer) if slots.bare(answer) else None
    if not answer or agreed is False:
        return _declined(state, voice, False, "I have not added a review.")
    rating = slots.rating(answer, scale)
    if draft["rating"] is None:
        if rating is None:
            return _declined(state, voice, None, "That is no rating on the scale; I have not added a review.")
        words = draft["text"] or _words(answer, answer, scale)
        return Command(update={"draft": {**draft, "rating": rating, "text": words}}, goto="fill")
    if agreed:  # a yes says nothing of the item
        return Command(goto="fill")
    if slots.graded(answer, scale):
        draft = {**draft, "rating": rating}
    return Command(update={"draft": {**draft, "text": slots.written(answer, scale)}}, goto="fill")


@traced
def add_review(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Add the review, if the user agrees."""
    services, draft, voice = runtime.context.services, state["draft"], Voice(state, runtime)
    agreed = slots.agrees(state["answer"])
    if not agreed:
        if reviews(runtime, state["answer"]):
            return Command(update={"said": state["answer"]}, goto="hear")
        other = slots.rating(state["answer"], services.store.scale)
        if other is not None and other != draft["rating"]:  # “no, make that 3”
            return Command(update={"draft": {**draft, "rating": other}}, goto="fill")
        return _declined(state, voice, agreed, "I have not added it.")
    written = Review(
        review_id=_id(state, "review"),
        user_id=state["user_id"],
        item_id=draft["item_id"],
        rating=draft["rating"],
        text=draft["text"],
        timestamp=services.now(),
    )
    services.store.add_reviews([written], scale=services.store.scale)
    name = called(runtime, written.item_id)
    voice.say(f"Added: you gave {name} {written.rating:g}. What I say from now on takes it into account.")
    return Command(update=voice.done(), goto="close")


@traced
def welcome(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Ask a newcomer the next of a few questions; then show back what was answered."""
    answers = state.get("draft", {}).get("answers", [])
    if len(answers) < len(INTRODUCTION):
        question = ask(INTRODUCTION[len(answers)][0], "introduced")
        return Command(update={"question": question, "draft": {"answers": answers}}, goto="ask")
    statements = _introduced(answers)
    if not statements:
        voice = Voice(state, runtime)
        voice.say("Then I go by what others say, until you add a review or tell me what you like.")
        return _onward(state, voice)
    told = "; ".join(attitudes.told(each) for each in statements)
    question = ask(f"So {told}. Shall I note that? (yes or no)", "meet")
    return Command(update={"question": question}, goto="ask")


@traced
def introduced(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Take a newcomer's answer; one that is a question or a request of its own ends the introduction.

    A greeting is returned, and the question asked again.
    """
    answer = state["answer"].strip()
    routed = runtime.context.router.route(answer)
    if GREETING.search(answer):
        voice = Voice(state, runtime)
        voice.say("Hello.")
        return Command(update=voice.done(), goto="welcome")
    long = len(answer.split()) > 2  # noqa: PLR2004 - “long films” is an answer
    request = long and routed.turn in REQUESTS and routed.probability >= CLEAR
    if slots.pieces(answer) and (answer.endswith("?") or request):
        return Command(update={"said": answer, "draft": {}}, goto="hear")
    answers = [*state["draft"]["answers"], answer]
    return Command(update={"draft": {"answers": answers}}, goto="welcome")


@traced
def meet(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Keep what a newcomer answered, if they agree."""
    voice = Voice(state, runtime)
    agreed = slots.agrees(state["answer"])
    if not agreed:
        return _declined(state, voice, agreed, "I have noted nothing.")
    statements = _introduced(state["draft"]["answers"])
    for number, statement in enumerate(statements):
        runtime.context.services.store.state_preference(_preference(state, runtime, statement, number))
    voice.say("Noted; you can correct it at any time.")
    return _onward(state, voice)


def _words(said: str, bare: str, scale: RatingScale) -> str:
    """What a turn says of an item beside its rating and, as it is `bare`, its name; empty where that is too little."""
    return slots.written(said, scale) if len(slots.aspect(bare).split()) > 1 else ""


def _introduced(answers: list[str]) -> list[Statement]:
    """What a newcomer's answers say."""
    found = []
    for answer, (_, attitude) in zip(answers, INTRODUCTION, strict=True):
        for piece in slots.pieces(answer):
            found.append(attitudes.read(piece) or Statement(Attitude(attitude), piece))
    return found


def _onward(state: Talk, voice: Voice) -> Command[Any]:
    """On to what the newcomer had asked before the introduction, if anything."""
    if asked := state.get("asked"):
        return Command(update={**voice.done(), "said": asked, "asked": ""}, goto="hear")
    voice.say("What would you like to know?")
    return Command(update=voice.done(), goto="close")


def _declined(state: Talk, voice: Voice, agreed: bool | None, told: str) -> Command[Any]:
    """Nothing is written; an answer that was no “no” is heard as a turn of its own."""
    voice.say(told)
    if agreed is None and state["answer"].strip():
        return Command(update={**voice.done(), "said": state["answer"]}, goto="hear")
    return Command(update=voice.done(), goto="close")


def _preference(state: Talk, runtime: Runtime[Talking], statement: Statement, number: int) -> Preference:
    return Preference(
        preference_id=_id(state, "preference", number),
        user_id=state["user_id"],
        attitude=statement.attitude,
        about=statement.about,
        stated_at=runtime.context.services.now() - 1,  # so that what is asked next knows it
    )


def _id(state: Talk, kind: str, number: int = 0) -> str:
    """The id of what this turn writes."""
    return digest([state["session"], state.get("turn", 0), kind, number])[:32]
