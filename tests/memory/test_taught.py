"""Adapter versions and the pointers to the live ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whylike.errors import StoreError
from whylike.memory.store import Store
from whylike.records import AdapterCard, Expert
from whylike.settings import Settings


def card(expert: Expert, name: str, **changes: object) -> AdapterCard:
    told = {
        "version": f"{expert}-{name}",
        "expert": expert,
        "content_hash": name * 8,
        "base_model": "tiny",
        "base_hash": "ff",
        "rank": 8,
        "created_at": 7,
        "command": "whylike train",
    }
    return AdapterCard.model_validate(told | changes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Settings(store=tmp_path)) as opened:
        yield opened


def test_cards_come_back_as_they_were_and_the_first_of_a_version_stays(store: Store) -> None:
    rich = card(
        Expert.REASONER,
        "aa",
        data_hash="d",
        parent="reasoner-00",
        settings={"rank": 8, "modules": ["q", "v"], "nested": {"a": None, "b": [1.5, True]}},
        metrics={"loss": 0.25},
    )
    store.add_adapter(rich)
    store.add_adapter(card(Expert.REASONER, "aa"))
    store.add_adapter(card(Expert.PREDICTOR, "bb"))
    assert store.adapter("reasoner-aa") == rich
    assert store.adapter("reasoner-bb") is None
    assert {each.version for each in store.adapters()} == {"reasoner-aa", "predictor-bb"}


def test_a_version_that_was_not_added_cannot_be_promoted(store: Store) -> None:
    with pytest.raises(StoreError):
        store.promote(Expert.REASONER, "reasoner-aa", "ann")
    assert store.promotions() == []


def test_promotions_say_who_and_when(store: Store) -> None:
    store.add_adapter(card(Expert.REASONER, "aa"))
    since = int(time.time())
    assert store.promote(Expert.REASONER, "reasoner-aa", "ann") is None
    assert store.promote(Expert.REASONER, "reasoner-aa", "bob") == "reasoner-aa"
    assert store.roll_back(Expert.REASONER, "cy") == ("reasoner-aa", None)
    assert store.roll_back(Expert.REASONER, "cy") is None
    told = [(each.version, each.promoted_by, each.kind) for each in store.promotions(Expert.REASONER)]
    assert told == [("reasoner-aa", "ann", "promote"), (None, "cy", "rollback")]
    assert all(since <= each.promoted_at <= time.time() for each in store.promotions())
    assert store.promotions(Expert.PREDICTOR) == []


def test_what_answered_before_the_first_promotion_is_part_of_the_way_back(store: Store) -> None:
    for name in ("aa", "bb"):
        store.add_adapter(card(Expert.REASONER, name))
    assert store.promote(Expert.REASONER, "reasoner-bb", "ann", before="reasoner-aa") == "reasoner-aa"
    assert store.roll_back(Expert.REASONER, "ann", before="reasoner-aa") == ("reasoner-bb", "reasoner-aa")
    assert store.roll_back(Expert.REASONER, "ann") == ("reasoner-aa", None)
    assert store.live_versions() == {Expert.REASONER: None}


NAMES = ("aa", "bb", "cc")
MOVES = st.lists(st.tuples(st.sampled_from([Expert.REASONER, Expert.PREDICTOR]), st.sampled_from([*NAMES, None])))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(moves=MOVES)
def test_rolling_back_walks_the_promotions_of_its_expert_back(
    moves: list[tuple[Expert, str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against a stack for each expert; None rolls back."""
    stacks: dict[Expert, list[str | None]] = {expert: [None] for expert in Expert}
    with Store.open(Settings(store=tmp_path_factory.mktemp("store"))) as store:
        for expert in (Expert.REASONER, Expert.PREDICTOR):
            for name in NAMES:
                store.add_adapter(card(expert, name))
        for expert, name in moves:
            stack = stacks[expert]
            before = len(store.promotions())
            if name is None:
                moved = store.roll_back(expert, "ann")
                assert moved == ((stack.pop(), stack[-1]) if len(stack) > 1 else None)
                changed = moved is not None
            else:
                version = f"{expert}-{name}"
                assert store.promote(expert, version, "ann") == stack[-1]
                changed = stack[-1] != version
                if changed:
                    stack.append(version)
            assert len(store.promotions()) == before + changed
            live = store.live_versions()
            assert {each: live.get(each) for each in Expert} == {each: stacks[each][-1] for each in Expert}


def test_a_calibration_belongs_to_one_mark_and_the_last_stays(store: Store) -> None:
    assert store.calibration("predictor-aa+1") is None
    for body in ('{"a": 1}', '{"a": 2}'):
        store.keep_calibration("predictor-aa+1", body)
    store.keep_calibration("predictor-aa+2", "{}")
    assert store.calibration("predictor-aa+1") == '{"a": 2}'
    assert store.calibration("predictor-aa") is None
