"""A user who is to be forgotten, all that may come to be stored of them, and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

from whylike.agents.turns import TurnRouter, labelled
from whylike.graph import threads
from whylike.graph.conversation import Conversation
from whylike.graph.pair import Services, explain
from whylike.graph.profiles import profile_now
from whylike.graph.talk import Talking
from whylike.memory.annotations import Occasion
from whylike.memory.ingest import ingest
from whylike.memory.spending import Purpose
from whylike.memory.store import Store
from whylike.records import (
    Attitude,
    Preference,
    RatedPair,
    RatingScale,
    ReasonAnnotation,
    ReasonDecision,
    Review,
    Side,
    SummaryAnnotation,
)

WHO = "gül-zorblatt"
TEXT = 'The quokkaphone solo was “süperb”\nand \\ the ending has "flimwizz" chills, zibberish all through. I cried.'
WORDS = ("quokkaphone", "süperb", "flimwizz", "zibberish", "brumblefitz", "wumpledore")
NEEDLES = (WHO, TEXT, *WORDS)

Opened = Callable[..., AbstractContextManager[Services]]
"""Opens services on a store with the corpus of `tests/graph`."""


def theirs() -> list[Review]:
    """What the user wrote: of one item that others have reviewed, and of one of their own."""
    return [
        Review(
            review_id=f"own{n}",
            user_id=WHO,
            item_id=item,
            rating=2,
            title="Brumblefitz!",
            text=TEXT if not n else f"{TEXT} Wumpledore, a second time.",
            timestamp=1250 + n,
        )
        for n, item in enumerate(("ice", "tarts", "ship"))
    ]


def reason(text: str, *lists: str) -> ReasonAnnotation:
    return ReasonAnnotation(title="T", user_likes=lists, item_likes=("soft songs",), text=text)


def fill(services: Services) -> None:
    """All that may come to be stored of a user, by the ways in which it comes there."""
    store = services.store
    store.add_reviews(theirs())
    store.add_rated_pairs([RatedPair(user_id=WHO, item_id="unread", rating=4, source="test")])
    for user, item in ((WHO, "waltz"), ("ann", "ice"), ("ann", "tarts"), ("ben", "tarts"), ("dee", "waltz")):
        explain(services, user, item, as_of=1_900)
    profile_now(services, Side.USER, WHO)
    profile_now(services, Side.ITEM, "ice")
    summary = SummaryAnnotation(item_id="ice", text=TEXT, rating=2, likes=("quokkaphone solo",))
    keep(store, "own0", summary)
    live = occasion("ann", "r1", "own0").model_copy(update={"instead": "The student had zibberish."})
    store.keep_reason("live", reason("The teacher heard the flimwizz."), "openai:big", live)
    store.keep_reason("other", reason("The teacher heard nothing."), "openai:big", occasion("ann", "r1"))
    others = SummaryAnnotation(item_id="ice", text="Others say flim.", rating=2, likes=("flim",))
    copied = summary.model_copy(update={"text": TEXT.replace("\n", "  "), "item_id": "elsewhere"})
    store.add_annotations([others, copied], "file.jsonl")
    store.add_annotations(
        [
            reason("Others say that the zibberish is great."),
            reason("It is said to have chills zibberish all through it."),
            reason("Nothing of theirs.", "the quokkaphone"),
            reason("The user likes soft songs, and the ending."),
        ],
        "file.jsonl",
    )
    decision = ReasonDecision(
        review_id="r3", user_id="ann", item_id="waltz", outcome="dropped", sampler="s", reward="r", tau=0.1, tries=1
    )
    mine = decision.model_copy(update={"user_id": WHO, "review_id": "own2", "annotation": reason("Süperb, flimwizz.")})
    told = decision.model_copy(update={"read": ("r1", "own0"), "annotation": reason("They like the quokkaphone.")})
    old = decision.model_copy(update={"item_id": "ice", "annotation": reason("They like the flimwizz.")})
    for key, each in {"theirs": mine, "told of theirs": told, "perhaps": old, "others": decision}.items():
        store.decide(key, each)
    said = Preference(preference_id="p", user_id=WHO, attitude=Attitude.LIKE, about="zibberish chills", stated_at=1)
    store.state_preference(said)
    talk(services)
    store.note_learning("summarizer-abc", {WHO, "ann"})
    (store.folder / "training" / "summarizer-abc" / "checkpoints").mkdir(parents=True)
    (store.folder / "training" / "summarizer-abc" / "notes").write_text(TEXT)
    store.note_learning("summarizer-def", {"ann"})
    (store.folder / "training" / "summarizer-def").mkdir()
    bad = {"user_id": WHO, "item_id": "ice", "rating": 99, "text": TEXT, "timestamp": 100}
    rows = [bad, bad | {"user_id": "ann", "text": "Fine."}, {"text": TEXT * 9, **bad}, dict(reversed(bad.items()))]
    file = store.folder.parent / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row, ensure_ascii=bool(n % 2))}\n" for n, row in enumerate(rows)))
    ingest(store, file, scale=RatingScale())


def occasion(user_id: str, *read: str) -> Occasion:
    return Occasion(teacher="openai:big+1", purpose=Purpose.LIVE_REASON, user_id=user_id, item_id="ice", reviews=read)


def keep(store: Store, review_id: str, summary: SummaryAnnotation) -> None:
    store.keep_summary(review_id, summary, "openai:big", occasion("ann", review_id))


def talk(services: Services) -> None:
    """Conversations of the user, of one who was told of their reviews, and of one who was not."""
    few = {"why": ["would I"], "follow_up": ["is there a quokkaphone solo"], "profile": ["what do you know about me"]}
    talking = Talking(services, TurnRouter(services.embedder, None, labelled(few)))
    with threads.opened(services.store.folder) as kept:
        for session, user, turns in (
            ("mine", WHO, ["what do you know about me"]),
            ("told", "ben", ["would I like The Long Ice", "is there a quokkaphone solo in it"]),
            ("others", "cam", ["what do you know about me"]),
        ):
            services.store.begin_conversation(session, user)
            conversation = Conversation(kept, talking, session, user, str)
            for turn in turns:
                assert list(conversation.say(turn))
