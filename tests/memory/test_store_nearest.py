"""What the user may have meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from whylike.errors import NotFoundError
from whylike.memory import nearest
from whylike.memory.nearest import nearest_items, nearest_users, not_found
from whylike.memory.store import Store
from whylike.records import Item, Profile, Side
from whylike.settings import Settings


@pytest.fixture
def store(tmp_path: Path, database_url: str | None) -> Iterator[Store]:
    with Store.open(Settings(store=tmp_path, database_url=database_url)) as opened:
        opened.add_items(
            [
                Item(item_id="B001", title="The Lord of the Rings"),
                Item(item_id="B002", title="Lord of War"),
                Item(item_id="B003", title="Amélie"),
                Item(item_id="untitled-item"),
            ]
        )
        opened.add_profiles(
            Profile(side=Side.USER, subject_id=user_id, adapter_version="v")
            for user_id in ("alice", "alicia", "bob", "'; DROP TABLE users; --", "😀")
        )
        yield opened


def test_users_are_found_by_ids_that_are_alike(store: Store) -> None:
    assert nearest_users(store, "Alice") == ["alice", "alicia"]
    assert nearest_users(store, "Alice", n=1) == ["alice"]
    assert nearest_users(store, "drop table") == ["'; DROP TABLE users; --"]
    assert nearest_users(store, "zzzzzz") == []
    assert nearest_users(store, "?!") == []


@pytest.mark.parametrize("slip", ["cta", "cut", "ca", "at", "caat", "CTA"])
def test_a_slip_of_the_finger_in_a_short_id_is_forgiven(store: Store, slip: str) -> None:
    store.add_profiles(
        Profile(side=Side.USER, subject_id=user_id, adapter_version="v") for user_id in ("cat", "tack", "u7")
    )
    assert nearest_users(store, slip, n=1) == ["cat"]
    assert nearest_users(store, "u8") == ["u7"]
    assert nearest_users(store, "x") == nearest_users(store, "dog") == []


def test_items_are_found_by_title_or_id(store: Store) -> None:
    assert [item.item_id for item in nearest_items(store, "lord of the ring", n=2)] == ["B001", "B002"]
    assert nearest_items(store, "amelie", n=1)[0].item_id == "B003"
    assert nearest_items(store, "b003", n=1)[0].item_id == "B003"
    assert nearest_items(store, "untitled item", n=1)[0].item_id == "untitled-item"


def test_pages_do_not_change_what_is_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = ("lord of the rings", "b00", "untitled")
    whole = [nearest_items(store, query) for query in queries]
    users = nearest_users(store, "alicia")
    monkeypatch.setattr(nearest, "PAGE", 1)
    assert [nearest_items(store, query) for query in queries] == whole
    assert nearest_users(store, "alicia") == users


def test_the_sentence_offers_what_was_found(store: Store) -> None:
    error = not_found(store, Side.ITEM, "lord of the rings", n=2)
    assert isinstance(error, NotFoundError)
    assert str(error) == (
        "no item 'lord of the rings' in the store; did you mean 'B001' (The Lord of the Rings) or 'B002' (Lord of War)?"
    )
    assert str(not_found(store, Side.USER, "bobb", n=1)) == "no user 'bobb' in the store; did you mean 'bob'?"
    assert str(not_found(store, Side.USER, "zzz\nzzz")) == (
        r"no user 'zzz\nzzz' in the store and none like it; add reviews with `whylike ingest`"
    )
