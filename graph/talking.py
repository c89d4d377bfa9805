"""The nodes of a conversation that answer and write nothing: why, follow-up, compare, what if, profile, recommend."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from whylike.agents import attitudes, slots
from whylike.agents.distributions import COVERED
from whylike.agents.finding import described as fitting
from whylike.agents.finding import named, settled
from whylike.agents.reasoner import quoted
from whylike.agents.spoken import described, spoken
from whylike.agents.turns import Turn
from whylike.agents.voice import to_you
from whylike.explanation import Effect, Explanation, Sentence
from whylike.graph.pair import explain_fully
from whylike.graph.profiles import profile_now
from whylike.graph.shortlist import shortlist
from whylike.graph.state import Event, Json
from whylike.graph.talk import FOCUS, Talk, Talking, Voice, ask, traced
from whylike.memory.history import history
from whylike.records import Attitude, Preference, Side

READ = 60
"""Newest reviews of an item that an answer about one aspect looks through."""
QUOTED = 3
"""Reviews that it quotes."""
OFFERED = 3
"""Items that are offered where several may be meant."""
LIKED = 3
"""Items that are recommended."""
ALIKE = 0.15
"""Share of the rating scale below which two expectations are too close to call."""
SUPPOSED = "supposed"
"""Id of what a user is only supposed to have said."""

_LEAD = re.compile(r"^[^“:]+: (?=\S)")
_POINTS = re.compile(r"\b(?:it|its|this|that one|this one|them|they|these|those)\b", re.IGNORECASE)
WAYS = {
    Turn.WHY: "whether you would like an item",
    Turn.FOLLOW_UP: "what its reviews say of one thing",
    Turn.COMPARE: "which of two suits you better",
    Turn.WHAT_IF: "how it would be if your taste were another",
    Turn.CORRECT: "to correct what I think of your taste",
    Turn.PROFILE: "to see what I know of you",
    Turn.FORGET: "to have something about you deleted",
    Turn.REVIEW: "to add a review",
    Turn.RECOMMEND: "to be recommended something",
    Turn.OTHER: "something else",
}
HELP = (
    "I can say whether and why you would like an item (“would I like …?”), look up what its reviews say of one thing "
    "(“is it slow?”), compare two items, say how it would be if your taste were another (“and if I didn't mind "
    "subtitles?”), note what you say of your taste (“no, I love long films”), show or forget what I know of you, take "
    "in a review (“I saw …, 4 stars, …”), and recommend something. /evidence shows the reviews behind an answer, /why "
    "how it was made."
)


@traced
def hear(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """The router: tell what a turn asks for and what it names, and send it there."""
    talking = runtime.context
    store, said = talking.services.store, state["said"].strip()
    anew: Json = {"anew": True, "reply": [], "draft": {}, "items": [], "question": {}, "answer": ""}
    voice = Voice({}, runtime)
    known = store.user_reviews(state["user_id"], 1) or store.preferences(state["user_id"])
    if not state.get("met") and not known:
        return Command(update={**anew, "met": True, "asked": said}, goto="welcome")
    if not said:
        voice.say(f"Hello, {state['user_id']}. Ask me whether you would like something; /help says what else I can do.")
        return Command(update={**anew, **voice.done(), "met": True}, goto="close")
    mentions = named(store, said)
    places = sorted({(each.start, each.end) for each in mentions})
    routed = talking.router.route(said, places)
    groups = [[each.item_id for each in mentions if (each.start, each.end) == place] for place in places]
    update = {**anew, "items": groups, "way": routed.turn.value, "met": True, "turn": state.get("turn", 0) + 1}
    if routed.sure:
        return Command(update=update, goto=routed.turn.value)
    options = [WAYS[routed.turn], WAYS[routed.second]]
    question = ask(f"I am not sure what you want: {options[0]}, or {options[1]}?", "settle_way", options)
    return Command(
        update={**update, "question": {**question, "ways": [routed.turn.value, routed.second.value]}}, goto="ask"
    )


@traced
def settle_way(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Take the answer to what the user wants."""
    question = state["question"]
    place = slots.chosen(state["answer"], question["options"])
    if place is None:
        return Command(update={"said": state["answer"]}, goto="hear")
    way = str(question["ways"][place])
    return Command(update={"way": way}, goto=way)


@traced
def settle_item(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Take the answer to which item is meant."""
    services, question, answer = runtime.context.services, state["question"], state["answer"]
    ids = list(question["ids"])
    if ids:
        place = slots.chosen(answer, question["options"])
        item_id = None if place is None else ids[place]
    else:
        mentions = named(services.store, answer)
        near = [] if mentions else fitting(services.store, services.index, services.embedder, slots.description(answer))
        item_id = mentions[0].item_id if mentions else settled(near)
    if item_id is None:
        return Command(update={"said": answer}, goto="hear")
    groups = [list(group) for group in state.get("items", [])]
    groups[question["group"] : question["group"] + 1] = [[item_id]]
    return Command(update={"items": groups}, goto=state["way"])


@traced
def why(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Whether and why the user would like an item."""
    found = resolved(state, runtime, 1)
    if isinstance(found, Command):
        return found
    voice = Voice(state, runtime)
    explanation = explained(voice, runtime, state["user_id"], found[0])
    _verdict(voice, runtime, explanation)
    _reason(voice, explanation)
    _effects(voice, explanation)
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
    about = slots.aspect(_without_names(state["said"], runtime))
    reviews = history(store, state["user_id"], item_id, services.now() + 1, READ).item_reviews
    best = store.scale.maximum
    if not reviews:
        voice.say(f"Nobody has reviewed {name} yet, so I cannot tell.")
    elif not about:
        _telling_most(voice, runtime, state, item_id)
    else:
        told = spoken(reviews, about, services.embedder)
        item = store.item(item_id)
        sentence = described(item.description, about) if item else ""
        many = f"the {len(reviews)} reviews of {name} that I read" if len(reviews) > 1 else f"the one review of {name}"
        if told:
            count = f"{len(told)} of {many}" if len(reviews) > 1 else many[0].upper() + many[1:]
            voice.say(f"{count} {'speaks' if len(told) == 1 else 'speak'} of “{about}”.")
        else:
            voice.say(f"None of {many} says anything of “{about}”, so I cannot tell.")
        for each in told[:QUOTED]:
            voice.say(
                f"One that gave it {each.review.rating:g} of {best:g}: “{quoted(each.phrase)}”.",
                [each.review.review_id],
            )
        if sentence:
            voice.say(f"Its description says: “{quoted(sentence)}”.")
    return Command(update=voice.done(items=[[item_id]], focus=focused(state, found)), goto="close")


@traced
def compare(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Which of two items is more to the user's taste."""
    found = resolved(state, runtime, 2)
    if isinstance(found, Command):
        return found
    voice = Voice(state, runtime)
    answers = [explained(voice, runtime, state["user_id"], item_id) for item_id in found]
    better, other = sorted(answers, key=lambda each: -each.rating.expectation)
    low, high = better.rating.scale[:2]
    names = {each.item_id: called(runtime, each.item_id) for each in answers}
    ratings = f"{better.rating.expectation:.1f} against {other.rating.expectation:.1f} of {high:g}"
    if better.rating.expectation - other.rating.expectation < ALIKE * (high - low):
        voice.say(f"It is close: I expect {ratings}, {names[better.item_id]} first, which is too near to call.")
    else:
        voice.say(f"Rather {names[better.item_id]} than {names[other.item_id]}: I expect {ratings}.")
    for each in (better, other):
        sentences = each.reason.sentences if each.reason else []
        own = runtime.context.services.store.review_of(each.user_id, each.item_id)
        if own:
            voice.say(f"{names[each.item_id]}: you gave it {own.rating:g} yourself.", [own.review_id], line=True)
        for number, sentence in enumerate(sentences[:2]):
            _sentence(voice, sentence, begin=f"{names[each.item_id]}: " if number == 0 and not own else "", bare=True)
        _effects(voice, each)
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
    if abs(new - old) >= 0.05:  # noqa: PLR2004 - what shows with one decimal
        way = "up" if new > old else "down"
        voice.say(f"If {told}, the rating that I expect for {name} would go {way}, from {old:.1f} to {new:.1f}.")
    else:
        voice.say(f"If {told}, nothing would change: I would still expect {new:.1f} for {name}.")
    _effect(voice, effect, after)
    changed = [
        each
        for each in (after.reason.sentences if after.reason else [])
        if before.reason is None or each.text not in {other.text for other in before.reason.sentences}
    ]
    if changed and abs(new - old) >= 0.05:  # noqa: PLR2004 - as above
        voice.say("I would then say:", line=True)
        for sentence in changed:
            _sentence(voice, sentence)
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
    if found and (found.likes or found.dislikes):
        if found.likes:
            voice.say(f"From your reviews it seems that you like {_listed(found.likes)}.")
        if found.dislikes:
            voice.say(f"It seems that you dislike {_listed(found.dislikes)}.")
    for each in said:
        when = datetime.fromtimestamp(each.stated_at, UTC)
        told = attitudes.told(attitudes.Statement(each.attitude, each.about))
        voice.say(f"On {when.day} {when:%B %Y} you said that {told}.", line=True)
    voice.say(
        "Correct me (“no, I love long films”) or have me forget it (“forget that I like …”, “forget me”).", line=True
    )
    return Command(update=voice.done(), goto="close")


@traced
def recommend(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """The best of what the user has not reviewed, by rating."""
    services, user_id, voice = runtime.context.services, state["user_id"], Voice(state, runtime)
    best = shortlist(services, user_id, LIKED, told=lambda done, total: voice.working("rating items", done, total))
    if not best:
        voice.say("There is nothing that you have not reviewed yet.")
        return Command(update=voice.done(), goto="close")
    answers = [explained(voice, runtime, user_id, item_id) for item_id in best]
    answers.sort(key=lambda each: -each.rating.expectation)
    voice.say("Of what you have not reviewed, I expect you to like most:")
    for number, each in enumerate(answers, start=1):
        high = each.rating.scale[1]
        begin = f"{number}. {called(runtime, each.item_id)} ({each.rating.expectation:.1f} of {high:g}). "
        if each.reason and each.reason.sentences:
            _sentence(voice, each.reason.sentences[0], begin=begin, bare=True)
        else:
            voice.say(begin.strip(), line=True)
    ids = [each.item_id for each in answers]
    return Command(update=voice.done(focus=focused(state, ids)), goto="close")


@traced
def other(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Anything else: say what can be asked."""
    voice = Voice(state, runtime)
    thanks = re.search(r"\b(?:thanks?|thank you|cheers|great|nice)\b", state["said"], re.IGNORECASE)
    voice.say("You are welcome." if thanks else "That is not something I can help with; /help says what is.")
    return Command(update=voice.done(), goto="close")


def resolved(
    state: Talk, runtime: Runtime[Talking], count: int, *, describing: bool = True, recalling: bool = True
) -> list[str] | Command[Any]:
    """The items that a turn is about: named, described, or those spoken of before; else the question which are meant.

    Args:
        state: Of the conversation.
        runtime: What the nodes work with.
        count: How many are wanted.
        describing: Whether any of the turn's words may describe an item; otherwise only where a thing is pointed at.
        recalling: Whether what was spoken of before may be meant where nothing points to it.
    """
    services = runtime.context.services
    groups = state.get("items", [])
    found: list[str] = []
    for number, group in enumerate(groups[:count]):
        if len(group) > 1:
            return _which(runtime, group, number, "There is more than one of that name")
        found.append(group[0])
    focus = [item_id for item_id in state.get("focus", []) if item_id not in found]
    said = state["said"]
    pointed = slots.pointed(said)
    words = pointed or (slots.description(said) if describing and not (focus and _POINTS.search(said)) else "")
    if len(found) < count and words and not found:
        near = fitting(services.store, services.index, services.embedder, words)
        one = settled(near)
        if one:
            found.append(one)
        elif near:
            return _which(
                runtime, [each.item_id for each in near[:OFFERED]], 0, f"I am not sure which one “{words}” is"
            )
        elif describing:
            question = ask(f"I know of nothing that “{words}” could be. Which item do you mean?", "settle_item")
            return Command(update={"question": {**question, "ids": [], "group": 0}}, goto="ask")
    if recalling or _POINTS.search(said):
        found += [item_id for item_id in focus if item_id not in found][: count - len(found)]
    if len(found) < count:
        other_one = f" beside {called(runtime, found[0])}" if found else ""
        question = ask(f"Which item{other_one} do you mean?", "settle_item")
        update = {"question": {**question, "ids": [], "group": len(found)}, "items": [[item_id] for item_id in found]}
        return Command(update=update, goto="ask")
    return found


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


def focused(state: Talk, items: Sequence[str]) -> list[str]:
    """What was spoken of lately, these first."""
    return list(dict.fromkeys([*items, *state.get("focus", [])]))[:FOCUS]


def called(runtime: Runtime[Talking], item_id: str) -> str:
    """What an item is called."""
    item = runtime.context.services.store.item(item_id)
    return quoted(item.name) if item else item_id


def _which(runtime: Runtime[Talking], ids: Sequence[str], group: int, begin: str) -> Command[Any]:
    names = [called(runtime, item_id) for item_id in ids]
    options = [name if names.count(name) == 1 else f"{name} ({id_})" for name, id_ in zip(names, ids, strict=True)]
    listed = " ".join(f"{number}. {option}" for number, option in enumerate(options, start=1))
    question = ask(f"{begin}. Which do you mean? {listed}", "settle_item", options)
    return Command(update={"question": {**question, "ids": list(ids), "group": group}}, goto="ask")


def _verdict(voice: Voice, runtime: Runtime[Talking], explanation: Explanation) -> None:
    rating = explanation.rating
    low, high = rating.interval
    best = rating.scale[1]
    name = called(runtime, explanation.item_id)
    own = runtime.context.services.store.review_of(explanation.user_id, explanation.item_id)
    if own and own.timestamp == explanation.as_of:
        when = datetime.fromtimestamp(own.timestamp, UTC)
        voice.say(f"You gave {name} {own.rating:g} of {best:g} on {when.day} {when:%B %Y}.", [own.review_id])
        voice.say(
            f"From what was known before, I would have expected {rating.expectation:.1f}, "
            f"at {COVERED:.0%} something between {low:.1f} and {high:.1f}."
        )
        return
    voice.say(
        f"{name}: I expect that you would give it {rating.expectation:.1f} of {best:g}, "
        f"at {COVERED:.0%} something between {low:.1f} and {high:.1f}."
    )


def _reason(voice: Voice, explanation: Explanation) -> None:
    if not explanation.reason:
        voice.say("Nothing is known that a reason could rest on.")
        return
    for sentence in explanation.reason.sentences:
        _sentence(voice, sentence)


def _sentence(voice: Voice, sentence: Sentence, begin: str = "", *, bare: bool = False) -> None:
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


def _effects(voice: Voice, explanation: Explanation) -> None:
    """Say what of all that the user said moves the rating of an item."""
    for effect in explanation.stated:
        if effect.shift:
            _effect(voice, effect, explanation)


def _effect(voice: Voice, effect: Effect, explanation: Explanation) -> None:
    """Say what something that the user said does to the rating, and why."""
    told = {
        Attitude.LIKE: f"you like {effect.about}",
        Attitude.DISLIKE: f"you dislike {effect.about}",
        Attitude.INDIFFERENT: f"you do not mind {effect.about}",
    }[effect.attitude]
    theirs = [each for each in effect.reviews if any(known.id == each for known in explanation.evidence)]
    who = f"{len(theirs)} of the {effect.of} reviews that I read speak{'s' if len(theirs) == 1 else ''} of it"
    if effect.described:
        who = f"its description names it, and {who}" if theirs else "its description names it"
    elif not theirs:
        voice.say(f"Of “{effect.about}” neither its description nor the {effect.of} reviews that I read say anything.")
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


def _without_names(said: str, runtime: Runtime[Talking]) -> str:
    """What was said without the names of items."""
    for each in reversed(named(runtime.context.services.store, said)):
        said = f"{said[: each.start]} {said[each.end :]}"
    return said


def _listed(aspects: Sequence[str]) -> str:
    shown = [f"“{quoted(each)}”" for each in aspects]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
