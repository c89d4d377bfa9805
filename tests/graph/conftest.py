"""A small invented corpus in a real store, with the real index and sentence vectors; only the model is scripted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conversing import Talk
from filelock import FileLock

from whylike.adapters.engines.base import Engine
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents.turns import TurnRouter
from whylike.explanation import Explanation
from whylike.graph import conversation
from whylike.graph.conversation import Conversation
from whylike.graph.pair import Services
from whylike.graph.schema import FILE
from whylike.memory.embeddings import Embedder
from whylike.memory.schema import Collection
from whylike.memory.store import Store
from whylike.records import Item, Profile, RatedPair, Review, Side
from whylike.settings import Settings

NOW = 2_000
"""The time at which questions are asked; the corpus is from 100 to 1,500."""

ITEMS = (
    Item(
        item_id="ice",
        title="The Long Ice",
        description="Scientists at an outpost in the ice are hunted by an alien.",
        categories=("Horror",),
    ),
    Item(
        item_id="ship",
        title="Dr. Hull's “Deep” Ship",
        description="The crew of a spaceship is hunted by an alien creature.",
        categories=("Horror",),
    ),
    Item(item_id="waltz", title="Waltz of the Clerks", description="Bureaucrats fall in love.", categories=("Comedy",)),
    Item(item_id="tarts", title="Tarts at Dawn", description="A baker and her oven.", categories=("Drama",)),
    Item(item_id="field"),
)


_ROWS = (
    (1, "ann", "ship", 5, "Rubber!", "The monster was built by hand. Slimy rubber creatures on wires."),
    (2, "ben", "ship", 2, "", "Blood everywhere for no reason. The dialogue is hard to hear."),
    (3, "ann", "waltz", 2, "Slow", "Two hours in which nothing happens, and I fell asleep halfway through."),
    (4, "cam", "waltz", 5, "", "Dry jokes about bureaucrats. The dancing clerks made me laugh out loud."),
    (5, "ben", "ice", 4, "Cold", "The wind never stops howling. A creature made of slimy rubber and wires."),
    (6, "cam", "ice", 2, "", "Nothing happens for an hour, I fell asleep. The dog was the best actor."),
    (7, "dee", "ice", 5, "wow", "Monsters built by hand instead of computer images! The ending gave me chills."),
    (8, "ann", "tarts", 3, "", "The bread looked warm. The baker talks too much about her oven."),
    (9, "dee", "tarts", 4, "", "The food scenes made me hungry. A quiet, warm film about work."),
    (10, "ann", "field", 1, "", "Someone stands in a field for two hours. Cheap digital explosions at the end."),
    (11, "eve", "ice", 1, "No.", "Far too bloody for me. I left before the ending, feeling sick."),
    (12, "ben", "waltz", 4, "", "The clerks are charming. The waltz at the end is clever and sad."),
    (13, "ann", "ice", 5, "My own", "Whoever reads this knows what I gave it, zanzibar."),
    (15, "fay", "ice", 3, "Late", "This came too late to be known, timbuktu."),
)
REVIEWS = tuple(
    Review(
        review_id=f"r{number}",
        user_id=user_id,
        item_id=item_id,
        rating=rating,
        title=title,
        text=text,
        timestamp=100 * number,
    )
    for number, user_id, item_id, rating, title, text in _ROWS
)
"""`ann` has reviewed everything, `ice` at 1,300; `fay` came after that."""


@pytest.fixture(scope="session")
def _embedder() -> Embedder:
    return Embedder()


@pytest.fixture(autouse=True)
def _one_embedder(_embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whylike.graph.services.Embedder", lambda: _embedder)


@pytest.fixture
def corpus() -> tuple[Review, ...]:
    return REVIEWS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def fill() -> Callable[..., None]:
    """Puts the corpus into a store: all reviews, or others."""

    def filled(store: Store, *more: Review, but: str = "") -> None:
        store.add_items(ITEMS)
        store.add_reviews([*(review for review in REVIEWS if review.review_id != but), *more])
        store.add_rated_pairs([RatedPair(user_id="mute", item_id="unread", rating=3, source="test")])

    return filled


@pytest.fixture
def opened(folder: Path, fill: Callable[..., None]) -> Callable[..., AbstractContextManager[Services]]:
    """Opens services on a store with the corpus."""

    @contextmanager
    def services(engine: Engine | None = None, *more: Review, but: str = "", at: Path = folder) -> Iterator[Services]:
        new = not at.exists()
        with Services.open(Settings(store=at, engine="scripted"), engine=engine or ScriptedEngine()) as made:
            if new:
                fill(made.store, *more, but=but)
            yield replace(made, now=lambda: NOW)

    return services


@pytest.fixture
def services(opened: Callable[..., AbstractContextManager[Services]]) -> Iterator[Services]:
    with opened() as made:
        yield made


@pytest.fixture(scope="session")
def _router(_embedder: Embedder, common: Path) -> TurnRouter:
    router = TurnRouter(_embedder, common)
    with FileLock(common / "turns.lock"):
        router.route("")  # learns it, or finds what another worker's learned
    return router


@pytest.fixture
def forgotten() -> list[str]:
    """Who was forgotten in a conversation."""
    return []


@pytest.fixture
def talk(services: Services, forgotten: list[str], _router: TurnRouter, monkeypatch: pytest.MonkeyPatch) -> Talk:
    """Opens a session."""
    monkeypatch.setattr(conversation, "TurnRouter", lambda *_: _router)

    @contextmanager
    def opened(user: str | None = "ann", session: str = "s") -> Iterator[Conversation]:
        services.index.sync(kinds=tuple(Collection))

        def forget(user_id: str) -> str:
            forgotten.append(user_id)
            return f"{user_id} is gone."

        with Conversation.open(services, session, user, forget) as made:
            yield made

    return opened


@pytest.fixture
def said() -> Callable[[Explanation], dict[str, Any]]:
    """All of an answer but how long it took."""
    return lambda explanation: explanation.model_dump(mode="json", exclude={"seconds"})


@pytest.fixture
def imported() -> Callable[..., Profile]:
    """Makes a profile as EXP3RT's released pairs have them."""

    def made(side: Side, average: float | None = 4.5) -> Profile:
        return Profile(
            side=side,
            subject_id="pro",
            likes=("slimy rubber creatures on wires", "monsters built by hand"),
            dislikes=("nothing happens for an hour",),
            adapter_version="imported:exp3rt",
            average=average,
        )

    return made


@pytest.fixture
def well_formed() -> Callable[[Explanation], None]:
    """Checks what holds for every answer."""
    return _well_formed


def _well_formed(explanation: Explanation) -> None:
    document = json.loads(explanation.model_dump_json())
    jsonschema.validate(document, json.loads(FILE.read_text(encoding="utf-8")))
    assert Explanation.model_validate(document) == explanation
    rating = explanation.rating
    assert sum(rating.distribution.values()) == pytest.approx(1, abs=1e-3)
    assert rating.scale[0] <= rating.interval[0] <= rating.interval[1] <= rating.scale[1]
    assert rating.scale[0] <= rating.expectation <= rating.scale[1]
    ids = [evidence.id for evidence in explanation.evidence]
    assert len(set(ids)) == len(ids)
    for evidence in explanation.evidence:
        assert evidence.timestamp < explanation.as_of
        assert (evidence.user_id == explanation.user_id) is not (evidence.item_id == explanation.item_id)
    if explanation.reason:
        assert explanation.reason.text == " ".join(sentence.text for sentence in explanation.reason.sentences)
        for sentence in explanation.reason.sentences:
            assert sentence.supported is bool(sentence.evidence or sentence.profiles)
            assert set(sentence.evidence) <= set(ids)
