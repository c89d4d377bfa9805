"""`whylike chat`: a conversation in the terminal, or from a file of turns."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415, T201
from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from whylike.dates import day
from whylike.options import Engine, Store, Verbose, examples, identified
from whylike.terminal import WIDEST, fail, log, messages, plain

if TYPE_CHECKING:
    from whylike.graph.conversation import Conversation
    from whylike.graph.services import Services

EXAMPLE = examples(
    "whylike chat --user ann", "whylike chat --user ann --session evening", "whylike chat --session evening"
)
COMMANDS = {
    "/evidence": "the reviews behind the last answer",
    "/why": "which nodes ran for it, and how long they took",
    "/help": "what can be asked",
    "/quit": "end; `whylike chat --session NAME` goes on",
}
SHOWN = 400
"""Characters of a review that /evidence shows."""
LINE = 4000
"""Characters of a turn that are taken."""


def chat(
    user: Annotated[
        str | None, typer.Option(metavar="U", help="Id of the user; a new one where it is left out.")
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Begin or go on with the session of this name. Default: a new one."),
    ] = None,
    engine: Engine = None,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Talk about what a user would like and why.

    Asks for a turn at a time; what is piped in is taken line by line. A session goes on where it was, also after a
    crash: give its name again.
    """
    from whylike.graph.conversation import Conversation
    from whylike.graph.forgetting import forget
    from whylike.graph.services import Services
    from whylike.memory.connection import existing
    from whylike.memory.schema import Collection
    from whylike.profile_cli import forgotten_card
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    who = None if user is None else identified("--user", user)
    settings = existing(load({"store": store, "engine": engine}))
    name = session if session is not None else f"session-{uuid4().hex[:8]}"
    if who is None and session is None:
        who = f"guest-{uuid4().hex[:8]}"
    with ExitStack() as stack:
        with Watch(messages(), "loading the model") as watch:
            services = stack.enter_context(Services.open(settings, told=watch.index))
            services.index.sync(watch.index, tuple(Collection))

        def forgets(user_id: str) -> str:
            with Watch(messages(), "forgetting") as forgetting:
                return str(forgotten_card(forget(settings, services.store, user_id, forgetting.index), None))

        conversation = stack.enter_context(Conversation.open(services, name, who, forgets))
        _talk(conversation, services)


def _talk(conversation: Conversation, services: Services) -> None:
    """Take turns until there are no more."""
    talks = sys.stdin.isatty()
    if talks:
        with suppress(ImportError):
            import readline  # noqa: F401 - turns can be edited and called back
    _notice(f"Session {conversation.session}, user {conversation.user_id}. /help says what can be asked.")
    state = conversation.state
    if not state:
        _hear(conversation, conversation.say(""))
    elif conversation.ended:
        _hear(conversation, conversation.go_on())
        return
    elif conversation.broken_off:
        _notice(f"You said “{state['said']}”; this was not answered yet.")
        _hear(conversation, conversation.go_on())
    else:
        for line in state.get("lines", [])[-1:]:
            _notice(f"You said “{state['said']}”. I said:")
            _print(line["text"])
        if question := conversation.question:
            _print(question["text"])
    for turn in _turns(talks):
        if turn.startswith("/"):
            if turn == "/quit":
                break
            _command(turn, conversation, services)
        else:
            _hear(conversation, conversation.say(turn))
        if conversation.ended:
            return
    _notice(f"`whylike chat --session {conversation.session}` goes on here.")


def _turns(talks: bool) -> Iterator[str]:
    """What the user types, line by line; what is piped in is shown as if it were typed."""
    while True:
        try:
            turn = input("> ") if talks else sys.stdin.readline()
        except EOFError:
            print()
            return
        if not talks:
            if not turn:
                return
            if not turn.strip():
                continue
            print(f"> {plain(turn).strip()}", flush=True)
        yield plain(turn[:LINE]).strip()


def _hear(conversation: Conversation, parts: Iterable[dict[str, Any]]) -> None:
    """Show what comes back as it comes."""
    from whylike.errors import EngineError, StoreError
    from whylike.graph.state import Event
    from whylike.progress import Watch

    page = _Page()
    watch = Watch(messages(), "thinking")
    with ExitStack() as stack:
        stack.enter_context(watch)
        try:
            for part in parts:
                if part["kind"] == "working":
                    watch.event(Event(node=part["what"], done=part["done"], total=part["total"]))
                    continue
                stack.close()  # the display gives way to the answer
                page.put(part)
        except (EngineError, StoreError) as error:
            stack.close()
            page.end()
            fail(f"{error}; your turn is kept: say anything, or open the session again, to have it answered")
    page.end()


class _Page:
    """The answer as it is printed: sentences that go on in the same line, wrapped."""

    def __init__(self) -> None:
        self._width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
        self._column = 0

    def put(self, part: dict[str, Any]) -> None:
        """Print a sentence, or a question, which has a line of its own."""
        marks = "".join(f"[{mark}]" for mark in part.get("marks", ()))
        text = f"{plain(part['text'])} {marks}".strip()
        if part["kind"] == "asked" or part["line"]:
            self.end()
        for word in text.split(" "):
            if self._column and self._column + 1 + len(word) > self._width:
                self.end()
            sys.stdout.write(f" {word}" if self._column else word)
            self._column += len(word) + bool(self._column)
        sys.stdout.flush()

    def end(self) -> None:
        """End the line."""
        if self._column:
            print(flush=True)
        self._column = 0


def _command(turn: str, conversation: Conversation, services: Services) -> None:
    """Do what a turn that begins with a slash asks for."""
    if turn == "/evidence":
        _evidence(conversation, services)
    elif turn == "/why":
        _trace(conversation)
    else:
        if turn != "/help":
            _print(f"There is no {turn}.")
        from whylike.graph.hearing import HELP

        _print(HELP)
        for name, does in COMMANDS.items():
            print(f"  {name:<10} {does}")


def _evidence(conversation: Conversation, services: Services) -> None:
    """Show the reviews that the last answer to name any names by number."""
    cited, lines = conversation.state.get("cited", []), conversation.state.get("lines", [])
    if not cited:
        _print("No answer has named a review yet.")
    elif lines and not lines[-1].get("reviews"):
        _print("The last answer names no review; these belong to the one before that does.")
    best = services.store.scale.maximum
    found = {each.review_id: each for each in services.store.reviews(cited)}
    for number, review_id in enumerate(cited, start=1):
        review = found.get(review_id)
        if review is None:
            _print(f"[{number}] is not in the store any more.")
            continue
        item = services.store.item(review.item_id)
        text = plain(f"{review.title}. {review.text}" if review.title else review.text)
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN].rsplit(' ', 1)[0]} …"
        about = item.name if item else review.item_id
        _print(
            f"[{number}] {review.user_id} on {about}: {review.rating:g} of {best:g}, {day(review.timestamp)} "
            f"({review.review_id})"
        )
        _print(f"“{shown}”", indent="    ")


def _trace(conversation: Conversation) -> None:
    """Show which nodes ran in the last turn, and how long each took."""
    for each in conversation.state.get("traced", []):
        print(f"  {each['seconds']:7.2f} s  {each['node']}")
        for inner in each["inner"]:
            print(f"  {inner['seconds']:7.2f} s    {inner['node']}")


def _print(text: str, indent: str = "") -> None:
    """Print text that may come from outside, wrapped."""
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    print(textwrap.fill(plain(text), width, initial_indent=indent, subsequent_indent=indent), flush=True)


def _notice(text: str) -> None:
    messages().print(plain(text), style="dim", soft_wrap=True)
