"""Forgetting a user: nothing of theirs is left in the store's files, and others are answered as if they never were."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forgettable import NEEDLES, WHO, Opened, fill, keep, theirs
from leftovers import left
from sqlalchemy import Column, Table, Text, insert, select

from whylike.graph import forgetting, threads
from whylike.graph.forgetting import adapters_of, forget
from whylike.graph.pair import Services, explain
from whylike.memory.chroma import FOLDER
from whylike.memory.connection import FILE
from whylike.memory.erasing import tables_of_users
from whylike.memory.ingest import ingest
from whylike.memory.schema import metadata, rating_totals, reviews
from whylike.memory.store import Store
from whylike.records import Profile, Side, SummaryAnnotation
from whylike.settings import Settings

NOBODYS = {
    "items",
    "rating_totals",
    "meta",
    "outbox",
    "adapter_versions",
    "promotions",
    "teacher_annotations",
    "forgotten",
    "learned_from",
    "teacher_calls",
    "learning_runs",
}
"""Tables without rows of users: what they may have of one is taken out by other means, or is a keyed hash."""


def sessions(store: Path) -> set[str]:
    with sqlite3.connect(store / threads.FILE) as database:
        return {thread for (thread,) in database.execute("SELECT thread_id FROM checkpoints")}


def answers(services: Services, said: Callable[..., Any]) -> list[Any]:
    """What others are told."""
    return [
        said(explain(services, user, item, as_of=1_900))
        for user, item in (("ann", "ice"), ("ann", "tarts"), ("ben", "tarts"), ("dee", "waltz"))
    ]


def test_nothing_is_left_of_a_user_and_others_are_answered_as_if_they_had_never_been(
    opened: Opened, tmp_path: Path, said: Callable[..., Any]
) -> None:
    here, never = tmp_path / "here", tmp_path / "never"
    with opened(at=never) as services:
        wanted = answers(services, said)
        days = totals(services.store)
    with opened(at=here) as services:
        fill(services)
        store = services.store
        assert answers(services, said) != wanted
        places = {file.partition("/")[0].removesuffix("-wal") for _, file in left(here, NEEDLES)}
        assert places == {FILE, FOLDER, "rejects", "training", threads.FILE}
        assert sessions(here) == {"mine", "told", "others"}
        assert {needle for needle, _ in left(here, NEEDLES)} == set(NEEDLES)
        held = store.held(WHO)
        assert held["reviews"] == held["summaries"] == 3
        assert (held["profiles"], held["rated pairs"], held["annotations"]) == (1, 1, 3)
        assert held["kept answers"] > 0
        kept = annotations(here)
        seen: list[tuple[int, int]] = []
        done = forget(services.settings, store, WHO, lambda *of: seen.append(of))
        assert done.removed == held
        assert seen
        assert seen[-1][0] == seen[-1][1]
        assert not left(here, NEEDLES)
        assert not any(store.held(WHO).values())
        gone = kept - annotations(here)
        assert len(gone) == 9, "of thirteen; others' are there as they were"
        assert sessions(here) == {"others"}
        assert store.conversations("ben") == ["told"], "which begins anew"
        assert annotations(here) < kept
        assert {path.name for path in (here / "training").iterdir() if path.is_dir()} == {"summarizer-def"}
        assert answers(services, said) == wanted
        assert totals(store) == days
        assert not left(here, NEEDLES)
        rejects = [json.loads(line) for line in next((here / "rejects").glob("*")).read_text().splitlines()]
        assert [entry["line"] for entry in rejects] == [1, 2, 3, 4]
        assert [bool(entry["row"]) for entry in rejects] == [False, True, False, False]


def totals(store: Store) -> list[Any]:
    with store.database.read() as connection:
        return sorted(map(tuple, connection.execute(select(rating_totals))))


def annotations(store: Path) -> set[str]:
    with sqlite3.connect(store / FILE) as database:
        return {key for (key,) in database.execute("SELECT annotation_id FROM teacher_annotations")}


def test_what_a_teacher_wrote_of_a_text_that_others_wrote_too_stays(folder: Path) -> None:
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        own, hers = (
            theirs()[0].model_copy(update={"review_id": user, "user_id": user, "text": "Good.", "title": ""})
            for user in (WHO, "ann")
        )
        store.add_reviews([own, hers])
        summary = SummaryAnnotation(item_id="ice", text="Good.", rating=2, likes=("good",))
        for user in (WHO, "ann"):
            keep(store, user, summary)
        store.add_annotations([summary], "file.jsonl")
        assert store.held(WHO)["annotations"] == 1
        forget(settings, store, WHO)
        assert len(annotations(folder)) == 2


def test_every_table_is_known_to_forgetting() -> None:
    handled = {table.name for table in tables_of_users()}
    assert handled | NOBODYS == set(metadata.tables), "say of the new table whether it has rows of users"
    assert not handled & NOBODYS


def test_a_table_that_has_a_user_id_is_emptied_without_being_named(folder: Path) -> None:
    table = Table("later", metadata, Column("it", Text), Column("user_id", Text))
    try:
        with Store.open(Settings(store=folder)) as store:
            with store.database.write() as connection:
                table.create(connection)
                rows = [{"it": "a", "user_id": WHO}, {"it": "b", "user_id": "ann"}]
                connection.execute(insert(table), rows)
            assert store.held(WHO)["later"] == 1
            forget(Settings(store=folder), store, WHO)
            with store.database.read() as connection:
                assert connection.execute(select(table.c.it)).scalars().all() == ["b"]
    finally:
        metadata.remove(table)


@pytest.mark.parametrize("user_id", ["100%", "a_b", 'o\'neil "x" ; --', "x\x1b[2J\ny", "\u202eevil", "a\\b", "%"])
def test_whoever_it_is_only_they_are_forgotten(folder: Path, user_id: str) -> None:
    others = ["1000", "a-b", "axb", "o'neil", "x", "aXb", "ann"]
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        for number, user in enumerate([user_id, *others]):
            store.add_reviews([theirs()[0].model_copy(update={"review_id": f"{number}", "user_id": user})])
        forget(settings, store, user_id)
        with store.database.read() as connection:
            assert sorted(connection.execute(select(reviews.c.user_id)).scalars()) == sorted(others)
        assert not store.has_user(user_id)
        assert store.forgotten_at(user_id)
        assert all(store.forgotten_at(user) is None for user in others)


def test_the_user_of_an_imported_profile(folder: Path, tmp_path: Path) -> None:
    from released import pair  # noqa: PLC0415 - of the tests' support

    file = tmp_path / "pairs.json"
    file.write_text(json.dumps([pair(WHO, 1, (3.5, 6.0), 7, likes=["quokkaphone"]), pair("u2", 1, (3, 6.0), 7)]))
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        ingest(store, file)
        with Store.open(Settings(store=folder / "exp3rt" / "0123")) as aside:
            aside.add_profiles([store.profiles_of(Side.USER, WHO)[0].model_copy(update={"subject_id": "row 1"})])
        with Store.open(Settings(store=folder / "exp3rt" / "4567")) as aside:
            aside.add_profiles([Profile(side=Side.USER, subject_id="row 1", likes=("x",), adapter_version="v")])
        items = store.profiles_of(Side.ITEM)
        assert store.held(WHO)["profiles"] == 1
        forget(settings, store, WHO)
        assert store.profiles_of(Side.ITEM) == items
        assert [path.name for path in (folder / "exp3rt").iterdir()] == ["4567"]
        assert not left(folder, [WHO, "quokkaphone"])
        report = ingest(store, file).reviews
        assert (report.pairs, report.pairs_added, report.rejected) == (1, 0, 1)
        assert not left(folder, [WHO, "quokkaphone"])


def test_rows_go_from_postgresql(tmp_path: Path, postgresql_url: str) -> None:
    settings = Settings(store=tmp_path / "store", database_url=postgresql_url)
    with Store.open(settings) as store:
        store.add_reviews([*theirs(), theirs()[0].model_copy(update={"review_id": "hers", "user_id": "ann"})])
        store.note_learning("run", {WHO})
        forget(settings, store, WHO)
        assert not any(store.held(WHO).values())
        assert store.held("ann")["reviews"] == 1
        assert store.saw(WHO) == ["run"]
        assert adapters_of(settings, store, WHO) == []


def test_the_places_beside_sql_are_asked_while_the_rows_are_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    place = lambda store, user: seen.append((user, store.held(user)["reviews"]))  # noqa: E731
    monkeypatch.setattr(forgetting, "PLACES", (*forgetting.PLACES, place))
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        store.add_reviews(theirs())
        forget(settings, store, WHO)
    assert seen == [(WHO, 3)]
