"""A conversation that is killed between any two turns, and within them, goes on exactly where it was."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from children import Nursery

TURNS = (
    "would I like Thing 2",
    "is it slow?",
    "and if I loved a warm voice?",
    "no, I love loud strings",
    "yes",
    "Thing 2 or Thing 3, which would suit me better?",
    "I saw Thing 4 yesterday, 4 stars, a bright cover and a warm sound",
    "yes",
    "what do you know about me",
    "forget that I love loud strings",
    "yes",
    "recommend me something",
    "hello there",
    "would I like Thing 3",
)
NEVER = 10**9
"""A step that is not reached: the child is killed when it is done."""
KILLS = 8


@pytest.fixture
def chat(ingested: tuple[Path, int], tmp_path: Path) -> dict[str, Any]:
    store = tmp_path / "store"
    shutil.copytree(ingested[0], store)
    return {"run": "chat", "user": "u1", "session": "evening", "store": store}


def test_a_conversation_that_is_killed_after_each_turn_is_the_same_as_one_that_is_not(
    nursery: Nursery, chat: dict[str, Any], tmp_path: Path
) -> None:
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(chat["store"], undisturbed)
    wanted = nursery.run(**{**chat, "store": undisturbed}, turns=TURNS)["result"]
    assert len(wanted["lines"]) > len(TURNS)
    assert wanted["reviews"] == [["i4", 4, "I saw Thing 4 yesterday, a bright cover and a warm sound"]]
    for turn in TURNS:
        nursery.kill(NEVER, holds=False, **chat, turns=[turn])
    assert nursery.run(**chat, turns=[])["result"] == wanted


def test_a_conversation_that_is_killed_within_a_turn_finishes_it_and_writes_what_it_writes_once(
    nursery: Nursery, chat: dict[str, Any], tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    shutil.copytree(chat["store"], begun)
    nursery.run(**{**chat, "store": begun}, turns=[TURNS[0], TURNS[6]])
    steps = nursery.run(**{**chat, "store": _copy(begun, tmp_path / "counted")}, turns=["yes"])["steps"]
    assert steps > KILLS
    for number, step in enumerate(random.Random(2).sample(range(1, steps + 1), KILLS)):
        store = _copy(begun, tmp_path / f"store-{number}")
        nursery.kill(step, holds=number % 2 == 0, **{**chat, "store": store}, turns=["yes"])
        found = nursery.run(**{**chat, "store": store}, turns=[])["result"]
        if found["question"] is not None:  # it was killed before the answer was taken, and the question stands
            found = nursery.run(**{**chat, "store": store}, turns=["yes"])["result"]
        assert len(found["reviews"]) == 1
        assert found["lines"][-1]["text"].startswith("Added: ")


def _copy(store: Path, to: Path) -> Path:
    shutil.copytree(store, to)
    return to
