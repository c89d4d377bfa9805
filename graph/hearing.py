"""The router of a conversation: what a turn asks for, which items it is about, and what has to be asked about that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from whylike.agents import slots
from whylike.agents.finding import described as fitting
from whylike.agents.finding import named, settled, titled
from whylike.agents.prompting import one_line
from whylike.agents.reasoner import quoted
from whylike.agents.stems import telling
from whylike.agents.turns import MASK, Routed, Turn, masked
from whylike.graph.state import Json
from whylike.graph.talk import FOCUS, Talk, Talking, Voice, ask, traced
from whylike.memory.history import history

OFFERED = 3
"""Items that are offered where several may be meant."""
KNOWN = 60
"""Newest reviews of what was spoken of last that are asked whether a word is about it."""
REFUSAL = 2
"""Words of a “no” at most that says nothing else."""
ECHOED = 8
"""Words of a description that are said back."""
ECHOED_CHARACTERS = 80

_POINTS = re.compile(r"\b(?:it|its|this|that one|this one|them|they|these|those)\b", re.IGNORECASE)
_PLAIN = {
    Turn.PROFILE: re.compile(
        r"^\W*(?:(?:so|and|but|well|hey) )?(?:do|did|have|am|was)(?:n['’]?t)? i (?:ever |really |actually |also )*"
        r"(?:like|love|hate|dislike|enjoy|mind|prefer|say|said|told|tell|into|fond of|keen on|an? (?:\w+ )?fan of)\b"
        r"(?! (?:it|this|that|these|those|them|one)\b)",
        re.IGNORECASE,
    ),
    Turn.RECOMMEND: re.compile(
        r"^\W*(?:is there|are there|have you(?: got)?|got) (?:any|some)(?:thing)?\b"
        r"(?!.*\b(?:in|about|of) (?:it|them)\b).*\b(?:less|not|isn['’]?t|without)\b",
        re.IGNORECASE,
    ),
}
"""How a turn begins that names no item and asks for one thing only, whatever the router makes of it: to ask what one
likes (“do I like sad endings?”) is not to say it."""
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
    routed = _routed(talking, said, places)
    groups = [[each.item_id for each in mentions if (each.start, each.end) == place] for place in places]
    heard: Json = {"said": said, "places": [[*place] for place in places], "items": groups, "way": routed.turn.value}
    update = {**anew, **heard, "met": True, "turn": state.get("turn", 0) + 1}
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
    options, answer = question["options"], state["answer"]
    place = slots.chosen(answer, [""] * len(options))  # by its number
    if place is None:
        likely = slots.chosen(answer, options)
        # “recommend me something” is like “something else”, and yet more than that
        place = likely if likely is not None and telling(answer) <= telling(options[likely]) else None
    if place is None and slots.agrees(state["answer"]):
        place = 0  # the likelier; what writes asks once more
    if place is None:
        return _unsettled(state, runtime)
    way = str(question["ways"][place])
    return Command(update={"way": way}, goto=way)


@traced
def settle_item(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Take the answer to which item is meant."""
    services, question, answer = runtime.context.services, state["question"], state["answer"]
    if reviews(runtime, answer, rated=False):
        return Command(update={"said": answer}, goto="hear")
    ids = list(question["ids"])
    if ids:
        place = slots.chosen(answer, question["options"])
        item_id = None if place is None else ids[place]
    else:
        mentions = named(services.store, answer)
        near = [] if mentions else fitting(services.store, services.index, services.embedder, slots.description(answer))
        item_id = mentions[0].item_id if mentions else settled(near)
    if item_id is None:
        return _unsettled(state, runtime)
    groups = [list(group) for group in state.get("items", [])]
    groups[question["group"] : question["group"] + 1] = [[item_id]]
    return Command(update={"items": groups}, goto=state["way"])


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
        one, echo = settled(near), _shortened(quoted(slots.phrase(said)) if pointed else words)
        if one:
            found.append(one)
        elif near:
            begin = f"I am not sure which one “{echo}” is"
            if not any(each.worded for each in near):
                begin = f"I know of nothing called “{echo}”; this comes nearest"
            return _which(runtime, [each.item_id for each in near[:OFFERED]], 0, begin)
        elif describing:
            question = ask(f"I know of nothing that “{echo}” could be. Which item do you mean?", "settle_item")
            return Command(update={"question": {**question, "ids": [], "group": 0}}, goto="ask")
    if found and len(found) < count:
        other = slots.beside(masked(said, state.get("places", []), MASK), MASK)
        near = fitting(services.store, services.index, services.embedder, other)
        one = settled([each for each in near if each.item_id not in found])
        found += [one] if one else []
    if not found and not describing and (others := _titled(state, runtime)):
        word = next(iter(others.values()))
        return _which(runtime, [*others, *focus[:1]], 0, f"I am not sure which one “{word}” is")
    if recalling or _POINTS.search(said):
        found += [item_id for item_id in focus if item_id not in found][: count - len(found)]
    if len(found) < count:
        other_one = f" beside {called(runtime, found[0])}" if found else ""
        question = ask(f"Which item{other_one} do you mean?", "settle_item")
        update = {"question": {**question, "ids": [], "group": len(found)}, "items": [[item_id] for item_id in found]}
        return Command(update=update, goto="ask")
    return found


def reviews(runtime: Runtime[Talking], answer: str, *, rated: bool = True) -> bool:
    """Whether an answer is a review of its own: it names an item, and rates it or, unless `rated`, says much of it."""
    store = runtime.context.services.store
    places = sorted({(each.start, each.end) for each in named(store, answer)})
    if not places or runtime.context.router.route(answer, places).turn is not Turn.REVIEW:
        return False
    bare = masked(answer, places, " ")
    return slots.rating(bare, store.scale) is not None or (not rated and len(slots.aspect(bare).split()) > 1)


def focused(state: Talk, items: Sequence[str]) -> list[str]:
    """What was spoken of lately, these first."""
    return list(dict.fromkeys([*items, *state.get("focus", [])]))[:FOCUS]


def called(runtime: Runtime[Talking], item_id: str) -> str:
    """What an item is called."""
    item = runtime.context.services.store.item(item_id)
    return quoted(item.name) if item else item_id


def _routed(talking: Talking, said: str, places: Sequence[tuple[int, int]]) -> Routed:
    """Where a turn goes."""
    routed = talking.router.route(said, places)
    plain = next((turn for turn, begins in _PLAIN.items() if not places and begins.search(said)), None)
    return routed if plain is None else Routed(turn=plain, probability=1.0, second=routed.turn)


def _unsettled(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
    """Hear what was said in place of a choice as a turn of its own; a bare “no” leaves it at that."""
    answer = state["answer"]
    if slots.agrees(answer) is False and len(answer.split()) <= REFUSAL:
        voice = Voice(state, runtime)
        voice.say("Then I leave it.")
        return Command(update=voice.done(), goto="close")
    return Command(update={"said": answer}, goto="hear")


def _which(runtime: Runtime[Talking], ids: Sequence[str], group: int, begin: str) -> Command[Any]:
    names = [called(runtime, item_id) for item_id in ids]
    options = [name if names.count(name) == 1 else f"{name} ({id_})" for name, id_ in zip(names, ids, strict=True)]
    listed = " ".join(f"{number}. {option}" for number, option in enumerate(options, start=1))
    question = ask(f"{begin}. Which do you mean? {listed}", "settle_item", options)
    return Command(update={"question": {**question, "ids": list(ids), "group": group}}, goto="ask")


def _titled(state: Talk, runtime: Runtime[Talking]) -> dict[str, str]:
    """Items that have in their titles what the turn calls “the toaster”, where nothing known of the last one has it.

    By id, each with that word.
    """
    services, words = runtime.context.services, slots.things(state["said"])
    store = services.store
    for item_id in state.get("focus", [])[:1]:
        item = store.item(item_id)
        reviews = history(store, state["user_id"], item_id, services.now() + 1, KNOWN).item_reviews
        texts = [text for each in reviews for text in (each.title, each.text)]
        known = telling(" ".join([*texts, item.title, item.description] if item else texts))
        words = [word for word in words if not telling(word) & known]
    found = titled(store, words, OFFERED + 1)
    return found if len(found) <= OFFERED else {}


def _shortened(words: str) -> str:
    """What was said, as far as it is worth saying back."""
    kept = one_line(words, ECHOED)[:ECHOED_CHARACTERS].strip()
    return kept if kept == words else f"{kept} …"


def without_names(state: Talk) -> str:
    """What was said without the names of items."""
    return masked(state["said"], state.get("places", []), " ")
