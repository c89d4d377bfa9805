"""The state of a conversation: plain values, so that a thread opens whatever becomes of the classes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, TypedDict

from langgraph.runtime import Runtime
from langgraph.types import Command

from whylike.agents.turns import TurnRouter
from whylike.graph.services import Services
from whylike.graph.state import Json

KEPT = 40
"""Lines of the conversation that its state remembers."""
FOCUS = 4
"""Items that “it” or “the two” may mean, the last one spoken of first."""
GREETING = re.compile(
    r"^\W*(?:hello|hi|hiya|hey|greetings|good (?:morning|afternoon|evening|day))(?: (?:there|again|all|you))?\W*$",
    re.IGNORECASE,
)
"""A turn that only greets."""


def newest(left: list[Json], right: list[Json]) -> list[Json]:
    """The last `KEPT` lines of a conversation."""
    return [*left, *right][-KEPT:]


class Talk(TypedDict, total=False):
    """What the nodes of `graph.conversation` read and write."""

    session: str
    user_id: str
    turn: int
    """How many turns the user has had; with the session it names what a turn writes."""
    said: str
    places: list[list[int]]
    """Where in what was said items are named, as starts and ends in characters."""
    asked: str
    """What a newcomer said first, before being asked about their taste."""
    way: str
    items: list[list[str]]
    """What this turn names: for each name the items that go by it."""
    focus: list[str]
    """What was spoken of lately, the latest first."""
    statements: list[Json]
    """The preferences that the user is asked about."""
    draft: Json
    """What is being put together by questions: a review, or a newcomer's answers."""
    question: Json
    """What the user was asked last (`ask`)."""
    answer: str
    reply: list[Json]
    """What was said in this turn: sentences, each with its marks and the reviews that it rests on (`Voice.say`)."""
    cited: list[str]
    """Reviews by the numbers of the last answer that names any."""
    traced: list[Json]
    """Nodes of this turn, with their seconds, in order."""
    met: bool
    """Whether a newcomer has been asked about their taste."""
    ended: bool
    """Whether the user had all deleted."""
    removing: str
    """The review that the user had deleted, until that is done, and the thread with it."""
    lines: Annotated[list[Json], newest]


@dataclass(frozen=True)
class Talking:
    """What the nodes of a conversation work with. Safe to use from several threads."""

    services: Services
    router: TurnRouter


Node = Callable[[Talk, Runtime[Talking]], Command[Any]]


def traced(node: Node) -> Node:
    """Adds a node and the seconds that it took to the trace of the turn."""

    @wraps(node)
    def run(state: Talk, runtime: Runtime[Talking]) -> Command[Any]:
        began = time.perf_counter()
        command = node(state, runtime)
        update: Json = dict(command.update or {})
        inner = update.pop("inner", [])
        before = [] if update.pop("anew", False) else state.get("traced", [])
        took = {"node": node.__name__, "seconds": round(time.perf_counter() - began, 4), "inner": inner}
        return Command(update={**update, "traced": [*before, took]}, goto=command.goto)

    return run


class Voice:
    """What a node says: each sentence is heard at once, and kept for the state."""

    def __init__(self, state: Talk, runtime: Runtime[Talking]) -> None:
        self._writer = runtime.stream_writer
        self._parts: list[Json] = list(state.get("reply", []))
        self._cited: list[str] = []
        self._inner: list[Json] = []

    def say(self, text: str, reviews: Sequence[str] = (), *, line: bool = False) -> None:
        """Say a sentence that rests on reviews.

        Args:
            text: The sentence.
            reviews: Ids; each gets a number by which `/evidence` shows it.
            line: Whether it begins a line.
        """
        for review_id in reviews:
            if review_id not in self._cited:
                self._cited.append(review_id)
        marks = [self._cited.index(review_id) + 1 for review_id in dict.fromkeys(reviews)]
        part = {"text": text, "marks": marks, "line": line or not self._parts}
        self._parts.append({**part, "reviews": list(reviews)})
        self._writer({"kind": "said", **part})

    def working(self, what: str, done: int, total: int) -> None:
        """Tell of progress that is not an answer."""
        self._writer({"kind": "working", "what": what, "done": done, "total": total})

    def ran(self, inner: Sequence[Json]) -> None:
        """Note what ran within this node."""
        self._inner += inner

    def done(self, **more: object) -> Json:
        """What the node adds to the state."""
        cited = {"cited": self._cited} if self._cited else {}
        return {"reply": self._parts, "inner": self._inner, **cited, **more}


def ask(text: str, then: str, options: Sequence[str] = ()) -> Json:
    """A question to the user, as the state has it.

    Args:
        text: What is asked.
        then: The node that takes the answer.
        options: Among what, where the answer is a choice.
    """
    return {"text": text, "then": then, "options": list(options)}
