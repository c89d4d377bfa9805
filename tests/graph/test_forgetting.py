"""Forgetting a user: nothing of theirs is left in the store's files, and others are answered as if they never were."""

from __future__ import annotations

import csv
import ctypes
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from leftovers import left
from sqlalchemy import Column, Table, Text, insert, select

from whylike.agents.turns import TurnRouter, labelled
from whylike.errors import UsageError
from whylike.graph import forgetting, threads
from whylike.graph.conversation import Conversation
from whylike.graph.forgetting import adapters_of, finish, forget, forgotten_before
from whylike.graph.pair import Services, explain
from whylike.graph.profiles import profile_now
from whylike.graph.talk import Talking
from whylike.memory.annotations import Occasion
from whylike.memory.chroma import FOLDER
from whylike.memory.connection import FILE
from whylike.memory.embeddings import Embedder
from whylike.memory.erasing import tables_of_users
from whylike.memory.index import Index
from whylike.memory.ingest import ingest
from whylike.memory.schema import metadata, rating_totals, reviews
from whylike.memory.spending import Purpose
from whylike.memory.store import Store
from whylike.records import (
    Attitude,
    Preference,
    Profile,
    RatedPair,
    RatingScale,
    ReasonAnnotation,
    ReasonDecision,
    Review,
    ReviewSummary,
    Side,
    SummaryAnnotation,
)
from whylike.settings import Settings

WHO = "gül-zorblatt"
TEXT = 'The quokkaphone solo was “süperb”\nand \\ the ending has "flimwizz" chills, zibberish all through. I cried.'
WORDS = ("quokkaphone", "süperb", "flimwizz", "zibberish", "brumblefitz", "wumpledore")
NEEDLES = (WHO, TEXT, *WORDS)
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

Opened = Callable[..., AbstractContextManager[Services]]


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


# --- every table


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


# --- who


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


# --- what comes later


def test_what_was_begun_before_a_forgetting_is_not_kept_after_it(folder: Path) -> None:
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        store.add_reviews(theirs())
        forget(settings, store, WHO)
        profile = Profile(side=Side.ITEM, subject_id="ice", likes=(TEXT,), adapter_version="v")
        store.add_profiles([profile], ["own0"])
        store.add_profiles([profile.model_copy(update={"side": Side.USER, "subject_id": WHO})])
        assert store.keep_answer("k1", "reason", TEXT, "ann", "ice", made_of=["own0"]) == TEXT
        assert store.keep_answer("k2", "reason", TEXT, WHO, "ice") == TEXT
        assert store.answer("k1") is store.answer("k2") is None
        keep(store, "own0", SummaryAnnotation(item_id="ice", text=TEXT, rating=2))
        store.keep_reason("live", reason(TEXT), "t", occasion("ann", "own0"))
        with pytest.raises(UsageError, match="asked to be forgotten"):
            store.state_preference(
                Preference(preference_id="p", user_id=WHO, attitude=Attitude.LIKE, about=TEXT, stated_at=1)
            )
        with pytest.raises(UsageError, match="asked to be forgotten"):
            store.begin_conversation("again", WHO)
        store.add_summaries([ReviewSummary(review_id="own0", likes=(TEXT,), adapter_version="v")])
        decision = ReasonDecision(
            review_id="x", user_id="ann", item_id="ice", outcome="kept", sampler="s", reward="r", tau=0, tries=0
        )
        store.decide("a", decision.model_copy(update={"read": ("own0",)}))
        store.decide("b", decision.model_copy(update={"user_id": WHO}))
        assert store.decisions() == {}
        assert not left(folder, NEEDLES)
        store.decide("c", decision)
        assert set(store.decisions()) == {"c"}


def test_a_file_that_is_read_again_brings_nobody_back(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "again.jsonl"
    rows = [review.model_dump() for review in theirs()]
    rows += [rows[0] | {"user_id": "ann", "review_id": "hers"}, rows[0] | {"rating": 77}]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        assert ingest(store, file, scale=RatingScale()).reviews.reviews_added == 4
        forget(settings, store, WHO)
        report = ingest(store, file, scale=RatingScale()).reviews
        assert (report.reviews, report.reviews_added, report.rejected, report.present) == (1, 0, 4, 1)
        assert report.rejects
        told = [json.loads(line) for line in report.rejects.read_text().splitlines()]
        assert sum("asked to be forgotten on " in entry["reason"] for entry in told) == 3
        assert all("`whylike profile readmit" in entry["reason"] or entry["line"] == 5 for entry in told)
        assert not left(folder, NEEDLES[:1])
        assert not store.has_user(WHO)
        assert store.readmit(WHO)
        assert not store.readmit(WHO)
        assert ingest(store, file, scale=RatingScale()).reviews.reviews_added == 3
        forget(settings, store, WHO)
        assert store.forgotten_at(WHO)
        assert not left(folder, NEEDLES[:1])


@pytest.mark.parametrize(
    "lines",
    [
        '{"user_id": "g\\u00fcl-zorblatt", "item_id": "i", "rating": 99, "text": "Zibberish.", "timestamp": 1}',
        '{"text": "Zibberish.", "rating": 99, "user_id":\t" gül-zorblatt ", "item_id": "i", "timestamp": 1}',
        "user_id,item_id,rating,text,timestamp\ngül-zorblatt,i,99,Zibberish.,1",
        'user_id,item_id,rating,text,timestamp\n"gül-zorblatt",i,99,"Zibberish, so.",1',
        "user_id\titem_id\trating\ttext\ttimestamp\ngül-zorblatt\ti\t99\tZibberish.\t1",
        "{'user_id': 'gül-zorblatt', 'item_id': 'i', 'rating': 99, 'text': 'Zibberish.', 'timestamp': 1}",
    ],
)
def test_a_rejected_row_goes_from_a_file_of_any_format(folder: Path, tmp_path: Path, lines: str) -> None:
    file = tmp_path / "rows"
    file.write_text(f"{lines}\n")
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        assert ingest(store, file, scale=RatingScale()).reviews.rejected == 1
        assert left(folder, ["zibberish"])
        store.add_reviews(theirs())
        forget(settings, store, WHO)
        assert not left(folder, NEEDLES)
        assert ingest(store, file, scale=RatingScale()).reviews.rejected == 1
        assert not left(folder, NEEDLES)


def test_an_id_with_quotation_marks_is_found_in_rejected_rows(folder: Path, tmp_path: Path) -> None:
    who = 'o\'zorblatt "zib", so'
    row = {"user_id": who, "item_id": "i", "rating": 99, "text": "Fine.", "timestamp": 1}
    (tmp_path / "json").write_text(json.dumps(row))
    with (tmp_path / "csv").open("w") as file:
        csv.writer(file).writerows([row.keys(), row.values()])
    with Store.open(Settings(store=folder)) as store:
        store.add_reviews([theirs()[0].model_copy(update={"user_id": who})])
        for name in ("json", "csv"):
            ingest(store, tmp_path / name, scale=RatingScale())
        assert len(left(folder / "rejects", ["zorblatt"])) == 2
        forget(Settings(store=folder), store, who)
        assert not left(folder, ["zorblatt"])


def test_a_hostile_row_is_looked_through_in_no_time(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    good = json.dumps({"user_id": "ann", "item_id": "i", "rating": 3, "text": "Fine.", "timestamp": 1})
    file.write_text(good + "\n" + '"' + '\\"' * 200_000 + "\n")
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        store.add_reviews(theirs())
        forget(settings, store, WHO)
        began = time.process_time()
        assert ingest(store, file).reviews.rejected == 1
        assert time.process_time() - began < 5


# --- cut off


class CutError(Exception):
    """Something stopped it."""


def cut_off(services: Services, patch: pytest.MonkeyPatch, where: str) -> None:
    """Forget the user until a step of it, which fails."""

    def cut(*_: object) -> None:
        raise CutError

    with patch.context() as patched, pytest.raises(CutError):
        patched.setattr(where, cut)
        forget(services.settings, services.store, WHO)


@pytest.mark.parametrize(
    "where",
    [
        "whylike.graph.forgetting.drop_spoilt",
        "whylike.memory.store.Store.erase",
        "whylike.graph.forgetting._purge",
        "whylike.memory.index.Index.renew",
        "whylike.memory.database.Database.purge",
    ],
)
def test_what_was_cut_off_is_finished(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    for by in ("a later opening", "the same command"):
        at = tmp_path / by
        with opened(at=at) as services:
            fill(services)
            cut_off(services, monkeypatch, where)
            assert left(at, NEEDLES)
            assert services.store.readmit(WHO) is False, "not before its end"
            if by == "the same command":
                again = forget if services.store.has_user(WHO) else forgotten_before
                again(services.settings, services.store, WHO)
                assert not left(at, NEEDLES)
        with opened(at=at) as services:
            assert not left(at, NEEDLES)
            assert services.store.unfinished() == []


def test_one_that_is_asked_for_again_while_it_runs_ends_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        store.add_reviews(theirs())
        purge = store.database.purge
        again = iter([lambda: store.begin_forgetting(WHO)])

        def purging() -> None:
            purge()
            next(again, lambda: None)()

        monkeypatch.setattr(store.database, "purge", purging)
        forget(settings, store, WHO)
        assert [each.user_id for each in store.unfinished()] == [WHO]
        finish(settings, store)
        assert store.unfinished() == []
        assert not left(folder, NEEDLES)


# --- the index


def test_without_an_index_none_is_made(folder: Path) -> None:
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        store.add_reviews(theirs())
        (folder / FOLDER).mkdir()
        (folder / FOLDER / "old").write_text(TEXT)
        forget(settings, store, WHO)
        assert not (folder / FOLDER).exists()


def test_vectors_of_others_are_moved_and_not_made_anew(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened() as services:
        fill(services)
        services.index.sync()
        count = services.index.count()
        assert count > 10

        def embed(*_: object) -> None:
            raise AssertionError("a vector was made")

        monkeypatch.setattr(Embedder, "embed", lambda self, texts: embed() if texts else [])
        forget(services.settings, services.store, WHO)
        monkeypatch.undo()
        assert 0 < services.index.count() < count
        assert services.index.sync() == 0


def test_an_index_that_is_damaged_is_made_anew(opened: Opened, folder: Path) -> None:
    with opened() as services:
        fill(services)
    (folder / "chroma.mark").write_text("begun by somebody")
    with Store.open(services.settings) as store:
        forget(services.settings, store, WHO)
        assert not left(folder, NEEDLES)
        with Index.open(services.settings, store, Embedder()) as index:
            assert index.count() > 5


def test_what_a_process_has_in_its_memory_does_not_come_into_the_index(opened: Opened, folder: Path) -> None:
    """Chroma writes files of vectors as the memory for them is found."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        pytest.skip("the C library is not glibc")
    perturb, mark = -6, b"Z" * 64
    mallopt(perturb, ~mark[0] & 0xFF)  # what is handed out is filled with it
    try:
        with opened() as services:
            fill(services)
            assert not [path for path in (folder / FOLDER).glob("*/*") if mark in path.read_bytes()]
            forget(services.settings, services.store, WHO)
            assert list((folder / FOLDER).glob("*/data_level0.bin"))
            assert not [path for path in (folder / FOLDER).glob("*/*") if mark in path.read_bytes()]
            profile_now(services, Side.ITEM, "ice")
            assert services.index.nearest_profiles(Embedder().embed(["chills"])[0], Side.ITEM, 1) == [
                ("ice", pytest.approx(0.3, abs=0.3))
            ]
    finally:
        mallopt(perturb, 0)


# --- PostgreSQL


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
