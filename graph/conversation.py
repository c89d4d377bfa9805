"""A conversation about “why would I like this?”: a state machine whose thread is kept and goes on after a crash.

Each turn is one run of the graph. A question to the user is an interrupt, and the answer resumes it; what the user says
instead of an answer is a turn of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from hashlib import sha256
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from whylike.agents.turns import Turn, TurnRouter
from whylike.errors import UsageError
from whylike.graph import changing, forgetting, hearing, talking, threads
from whylike.graph.services import Services
from whylike.graph.state import Json
from whylike.graph.talk import Talk, Talking
from whylike.memory.database import HeldError, lock

LONGEST = 100
"""Characters of a session's name."""

_NODES = {
    "hear": hearing.hear,
    "settle_way": hearing.settle_way,
    "settle_item": hearing.settle_item,
    Turn.WHY.value: talking.why,
    Turn.FOLLOW_UP.value: talking.follow_up,
    Turn.COMPARE.value: talking.compare,
    Turn.WHAT_IF.value: talking.what_if,
    Turn.PROFILE.value: talking.profile,
    Turn.RECOMMEND.value: talking.recommend,
    Turn.OTHER.value: talking.other,
    Turn.CORRECT.value: changing.correct,
    "note": changing.note,
    Turn.FORGET.value: changing.forget,
    "unreview": changing.unreview,
    "unsay": changing.unsay,
    "erase": changing.erase,
    Turn.REVIEW.value: changing.review,
    "fill": changing.fill,
    "filled": changing.filled,
    "add_review": changing.add_review,
    "welcome": changing.welcome,
    "introduced": changing.introduced,
    "meet": changing.meet,
}


def ask(state: Talk) -> Command[Any]:
    """Wait for the user's answer to a question; nothing before it is done twice."""
    answer = interrupt(state["question"])
    return Command(update={"answer": str(answer), "reply": []}, goto=state["question"]["then"])


def close(state: Talk) -> Json:
    """End a turn: remember what was said."""
    parts = state.get("reply", [])
    text = " ".join(part["text"] for part in parts)
    named = [review_id for part in parts for review_id in part["reviews"]]
    return {"lines": [{"who": "user", "text": state["said"]}, {"who": "whylike", "text": text, "reviews": named}]}


@cache
def graph() -> StateGraph[Any, Any, Any, Any]:
    """The state machine: hear routes a turn to its node, which may ask, and close ends it."""
    made = StateGraph(Talk, context_schema=Talking)
    for name, node in _NODES.items():
        made.add_node(name, cast(Any, node), destinations=(*_NODES, "ask", "close"))
    made.add_node("ask", ask, destinations=tuple(_NODES))
    made.add_node("close", close)
    made.add_edge(START, "hear")
    made.add_edge("close", END)
    return made


class Conversation:
    """One session: a user, and a thread that is kept. Not for several threads at once."""

    def __init__(
        self, kept: SqliteSaver, talking: Talking, session: str, user_id: str, forget: Callable[[str], str]
    ) -> None:
        self._graph: CompiledStateGraph[Any, Any, Any, Any] = graph().compile(checkpointer=kept)
        self._kept = kept
        self._talking = talking
        self._forget = forget
        self._over = False
        self.session = session
        self.user_id = user_id
        self._config: RunnableConfig = {"configurable": {"thread_id": session}}

    @classmethod
    @contextmanager
    def open(
        cls, services: Services, session: str, user_id: str | None, forget: Callable[[str], str]
    ) -> Generator[Self]:
        """Open a session, or go on with one of this name.

        Args:
            services: The store and the experts.
            session: Its name.
            user_id: Whose it is; None for that of a session that is there.
            forget: Removes all that is stored of a user, and says so.

        Raises:
            UsageError: The session is another user's, is open elsewhere, is new and has no user, or has no fit name.
        """
        if not session.strip() or len(session) > LONGEST or not session.isprintable():
            raise UsageError(f"--session {session!r} is no name; give one of 1 to {LONGEST} visible characters")
        folder = services.store.folder
        place = folder / "sessions" / f"{sha256(session.encode()).hexdigest()[:16]}.lock"
        place.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(lock(place, 0))
            except HeldError:
                raise UsageError(
                    f"the session {session!r} is open elsewhere; end it there, or give another --session"
                ) from None
            whose = services.store.conversation_of(session)
            if whose is None and user_id is None:
                raise UsageError(f"there is no session {session!r}; give --user too to begin it")
            if whose is not None and user_id not in (None, whose):
                raise UsageError(
                    f"the session {session!r} is another user's; give another --session or leave out --user"
                )
            user = services.store.begin_conversation(session, whose or user_id or "")
            router = TurnRouter(services.embedder, services.settings.cache)
            saver = stack.enter_context(threads.opened(folder))
            yield cls(saver, Talking(services, router), session, user, forget)

    @property
    def state(self) -> Talk:
        """What the thread remembers."""
        return cast(Talk, self._graph.get_state(self._config).values)

    @property
    def question(self) -> Json | None:
        """What the user was asked last and has not answered."""
        found = [each for task in self._graph.get_state(self._config).tasks for each in task.interrupts]
        return found[0].value if found else None

    @property
    def broken_off(self) -> bool:
        """Whether a turn was begun and neither ended nor waits for an answer: the process was killed."""
        return bool(self._graph.get_state(self._config).next) and self.question is None

    @property
    def ended(self) -> bool:
        """Whether the user had all deleted."""
        return self._over or bool(self.state.get("ended"))

    def say(self, text: str) -> Iterator[Json]:
        """Say something, an answer where a question is open; what comes back streams.

        Yields:
            For each sentence `{"kind": "said", "text", "marks", "line"}`, for progress `{"kind": "working", "what",
            "done", "total"}`, for a question at the end `{"kind": "asked", "text", "options"}`.

        Raises:
            StoreError: The store failed.
            EngineError: The model failed; what was said before stays, and the turn goes on at the next `go_on`.
        """
        if self.question is not None:
            return self._run(Command(resume=text))
        if self.broken_off:
            return self._run(None)
        return self._run({"session": self.session, "user_id": self.user_id, "said": text})

    def go_on(self) -> Iterator[Json]:
        """Finish the turn in which the process was killed, or what came after it."""
        return self._run(None)

    def _run(self, given: object) -> Iterator[Json]:
        services = self._talking.services
        if given is not None or self.broken_off:
            with services.query():
                yield from self._graph.stream(
                    given, self._config, context=self._talking, stream_mode="custom", durability="sync"
                )
            latest = self._graph.get_state(self._config).config["configurable"]["checkpoint_id"]
            threads.prune(self._kept, self.session, latest)
        if self.ended:
            told = self._forget(self.user_id)
            self._over = True  # the thread does not know it any more
            yield {"kind": "said", "text": told, "marks": [], "line": True}
        elif removing := self.state.get("removing"):
            for review in services.store.reviews([removing]):
                found = forgetting.remove(services.settings, services.store, review)
                yield {"kind": "said", "text": forgetting.told(found), "marks": [], "line": True}
        elif self.question:
            yield {"kind": "asked", **self.question}
