"""What PostgreSQL does otherwise than SQLite: reaching it, its refusals, its locks, its order of texts.

What both do alike is tested once for each, in the tests of the parts.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path, PurePath

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event, insert, inspect, make_url, text
from sqlalchemy.exc import OperationalError

from whylike.doctor import Check, examine
from whylike.errors import StoreError, UsageError
from whylike.memory import connection, database
from whylike.memory.ingest import ingest
from whylike.memory.nearest import nearest_users
from whylike.memory.schema import reviews, row
from whylike.memory.store import Store
from whylike.records import Item, RatedPair, RatingScale, Review
from whylike.settings import Settings, hidden, load

NewDatabase = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def here(tmp_path: Path, postgresql_url: str) -> Settings:
    return Settings(store=tmp_path / "store", database_url=postgresql_url)


@pytest.fixture
def store(here: Settings) -> Iterator[Store]:
    with Store.open(here) as opened:
        yield opened


def review(review_id: str, **changed: object) -> Review:
    values = {"user_id": "u", "item_id": "i", "rating": 4.5, "text": "good", "timestamp": 100, **changed}
    return Review(review_id=review_id, **values)


def doctor(url: str, monkeypatch: pytest.MonkeyPatch) -> Check:
    """What the doctor says of the store, which must not be the password."""
    monkeypatch.setenv("WHYLIKE_DATABASE_URL", url)
    diagnosis = examine({"engine": "scripted"})
    assert "s3same" not in diagnosis.model_dump_json()
    assert "Traceback" not in diagnosis.model_dump_json()
    (found,) = (check for check in diagnosis.checks if check.name == "store")
    return found


# --- order and limits


def test_every_text_is_in_the_order_of_sqlite(store: Store) -> None:
    """Whatever the language of the server, whose order would have `a` before `B`."""
    with store.database.read() as connected:
        collations = connected.execute(
            text(
                "SELECT table_name, column_name, collation_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND data_type = 'text' AND table_name <> 'migrations'"
            )
        ).all()
    assert {collation for *_, collation in collations} == {"C"}
    assert len(collations) > 20


def test_ids_come_in_the_order_of_their_characters_numbers(store: Store, tmp_path: Path) -> None:
    ids = ["b", "B", "a", "_", "-", "é", "e", "z", "\ufffd", "😀", "10", "9", "a b", "ab"]
    pairs = [RatedPair(user_id=each, item_id="i", rating=1, source="s") for each in ids]
    with Store.open(Settings(store=tmp_path / "sqlite")) as other:
        for each in (store, other):
            each.add_rated_pairs(pairs)
            each.add_reviews(review(user) for user in ids)
            assert [pair.user_id for pair in each.rated_pairs()] == sorted(ids)
            assert [found.review_id for found in each.user_reviews("u", 100)] == sorted(ids)


def test_pages_of_users_miss_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_rated_pairs(RatedPair(user_id=each, item_id="i", rating=1, source="s") for each in ("ann", "Ann", "ANN"))
    monkeypatch.setattr("whylike.memory.nearest.PAGE", 1)
    assert sorted(nearest_users(store, "ann", 5)) == ["ANN", "Ann", "ann"]


def test_what_it_cannot_hold_is_refused_with_its_batch(store: Store) -> None:
    with pytest.raises(UsageError, match="without NUL"):
        store.add_reviews([review("r1"), review("r2", text="a\0b")])
    with pytest.raises(UsageError, match="cannot hold or look up this value"):
        store.has_user("a\0b")
    with pytest.raises(UsageError, match=r"out of range; .* whole seconds"):
        store.add_reviews([review("r1"), review("r2", timestamp=2**63)])
    with pytest.raises(StoreError, match="a text is too long to be looked up by"):
        store.add_items([Item(item_id="".join(chr(0x4E00 + n) for n in range(8000)))])
    assert store.counts().reviews == store.counts().users == store.counts().items == 0


def test_the_longest_ids_fit_its_indexes(store: Store) -> None:
    def longest(first: int) -> str:
        return "".join(chr(first + 37 * n) for n in range(200))  # four bytes each

    user, item = longest(0x1F300), longest(0x20000)
    store.add_reviews([review(longest(0x10000), user_id=user, item_id=item)])
    store.add_rated_pairs([RatedPair(user_id=user, item_id=item, rating=1, source="exp3rt:" + "f" * 255)])
    assert store.review_of(user, item)


# --- locks and connections


def test_more_threads_than_connections_take_turns(store: Store) -> None:
    """Each would hold a connection while it waits for the lock, and its holder would get no second one."""
    inside = 0

    def work(_: int) -> None:
        nonlocal inside
        with store.database.exclusive("test"):
            inside += 1
            assert inside == 1
            store.counts()
            inside -= 1

    with ThreadPoolExecutor(40) as pool:
        assert len(list(pool.map(work, range(40)))) == 40


def test_a_lock_keeps_out_other_processes_and_threads_and_says_so(
    here: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.05)
    with Store.open(here) as other, store.database.exclusive("test"):
        with other.database.exclusive("another"):
            pass
        for each in (store, other):
            with pytest.raises(StoreError, match="has held the lock for test"), each.database.exclusive("test"):
                pass
    with store.database.exclusive("test"):
        pass


def test_a_read_sees_one_state_and_a_write_what_was_written_while_it_waited(here: Settings, store: Store) -> None:
    with Store.open(here) as other:
        with store.database.read() as connected:
            count = text("SELECT count(*) FROM reviews")
            assert connected.execute(count).scalar_one() == 0
            other.add_reviews([review("r1")])
            assert connected.execute(count).scalar_one() == 0
        assert store.counts().reviews == 1

        waits = threading.Event()
        event.listen(
            other.database._writer, "before_cursor_execute", lambda *args: "advisory" in args[2] and waits.set()
        )
        with ThreadPoolExecutor(1) as pool:
            with store.database.write() as connected:
                added = pool.submit(other.add_reviews, [review("r2"), review("r3")])
                assert waits.wait(30)
                connected.execute(insert(reviews), [row(review("r2"))])
            assert added.result() == 1


def test_a_broken_connection_is_told_once_and_then_replaced(store: Store, new_database: NewDatabase) -> None:
    def end_the_others() -> None:
        with store.database.read() as connected:
            connected.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    with (
        pytest.raises(StoreError, match=r"hung up: .*; see that its server runs"),
        store.database.write() as connected,
    ):
        connected.execute(text("INSERT INTO users VALUES ('lost')"))
        end_the_others()
        connected.execute(text("INSERT INTO users VALUES ('lost too')"))
    assert not store.has_user("lost")
    store.add_reviews([review("r1")])
    end_the_others()
    assert store.add_reviews([review("r2")]) == 1  # what was idle is replaced unnoticed


def test_no_more_connections_are_taken_than_a_server_can_spare(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    with Store.open(here) as store, ExitStack() as stack:
        held = []
        with pytest.raises(StoreError, match="too busy"):
            while len(held) < 100:
                held.append(stack.enter_context(store.database.read()))
        assert 8 <= len(held) <= 16


# --- what it may not do


@pytest.fixture
def admin(postgresql_url: str) -> Iterator[Engine]:
    engine = create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def run(engine: Engine, *statements: str) -> None:
    with engine.connect() as connected:
        for statement in statements:
            connected.exec_driver_sql(statement)


@pytest.fixture
def guest(admin: Engine) -> Iterator[str]:
    """The URL of a user who may make nothing."""
    run(admin, "CREATE ROLE guest LOGIN PASSWORD 's3same'")
    yield admin.url.set(username="guest", password="s3same").render_as_string(hide_password=False)
    run(admin, "DROP OWNED BY guest", "DROP ROLE guest")


def refusal(settings: Settings) -> str:
    with pytest.raises(StoreError) as raised, Store.open(settings) as store:
        store.add_reviews([review("r1")])
    assert "\n" not in str(raised.value)
    assert "s3same" not in str(raised.value)
    return str(raised.value)


def test_a_user_who_may_not_is_told(tmp_path: Path, here: Settings, guest: str, admin: Engine) -> None:
    denied = Settings(store=tmp_path, database_url=guest)
    assert "its user may not do that (permission denied for schema public); grant it, or name another" in refusal(
        denied
    )
    Store.open(here).close()
    run(admin, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
    assert "(permission denied for table" in refusal(denied)


def test_a_server_that_may_only_be_read_is_told(here: Settings, admin: Engine) -> None:
    Store.open(here).close()
    run(admin, f"ALTER DATABASE {admin.url.database} SET default_transaction_read_only = on")
    assert "it may only be read; name the server that takes writes" in refusal(here)


def test_a_database_that_cannot_hold_every_text_is_refused(tmp_path: Path, new_database: NewDatabase) -> None:
    with new_database("ENCODING 'LATIN1' LOCALE 'C'") as url:
        said = refusal(Settings(store=tmp_path, database_url=url))
    assert "has the encoding LATIN1, which cannot hold every review; make a database with" in said


def test_a_server_without_a_connection_left_is_told(here: Settings, guest: str, admin: Engine) -> None:
    run(admin, "ALTER ROLE guest CONNECTION LIMIT 0")
    said = refusal(here.model_copy(update={"database_url": guest}))
    assert "too many connections for role" in said
    assert "run fewer commands at once or raise the server's max_connections" in said


# --- the doctor, and passwords


def test_the_doctor_says_what_the_store_is_in(
    here: Settings, workplace: Path, monkeypatch: pytest.MonkeyPatch, admin: Engine
) -> None:
    found = doctor(here.database_url, monkeypatch)
    assert (found.status, bool(found.mend)) == ("note", True)
    address = f"postgresql://whylike:***@127.0.0.1:{admin.url.port}/{admin.url.database}, PostgreSQL 18."
    assert found.found.startswith(f"there is none yet in {address}")
    assert inspect(admin).get_table_names() == []
    assert not (workplace / "store").exists()
    with Store.open(here) as store:
        store.add_reviews([review("r1")])
    found = doctor(here.database_url, monkeypatch)
    assert found.status == "ok"
    assert found.found.startswith(address)
    assert "1 users, 1 items, 1 reviews" in found.found


def test_the_doctor_says_why_a_server_is_not_reached(
    postgresql_url: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(postgresql_url)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    wrong = {
        "Connection refused; make sure that the server runs": url.set(port=port),
        "password authentication failed for user": url.set(password="not/s3same@all"),
        "no password supplied; mend the user or the password": url._replace(password=None),
        'database "nowhere" does not exist; make that database with `createdb`': url.set(database="nowhere"),
        "SSL was required; make sure": url.update_query_dict({"sslmode": "require"}),
        "invalid connection option": url.update_query_dict({"nonsense": "1", "password": "s3same"}),
    }
    for sentence, each in wrong.items():
        found = doctor(each.render_as_string(hide_password=False), monkeypatch)
        assert found.status == "problem"
        assert "cannot be reached: " in found.found
        assert sentence in found.found
        assert "\n" not in found.found
        assert "failed: " not in found.found  # the address is told already


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("the database system is starting up", "wait until the server has started"),
        ("sorry, too many clients already", "run fewer commands at once"),
        (
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            "run fewer commands at once",
        ),
        ('no pg_hba.conf entry for host "1.2.3.4", user "ann", database "db"', "let this user in"),
        ('role "ann" does not exist', "mend the user in database_url"),
        ("something else", "make sure that the server runs"),
    ],
)
def test_what_servers_say_to_those_whom_they_do_not_let_in(said: str, mend: str) -> None:
    said = f'connection failed: connection to server at "1.2.3.4", port 5432 failed: FATAL:  {said}\nmore'
    error = connection.refused("NAME", OperationalError(None, None, psycopg.OperationalError(said)))
    told = said.splitlines()[0].rpartition("FATAL:  ")[2]
    assert str(error).startswith(f"the store NAME cannot be reached: {told}; {mend}")


def test_a_driver_that_is_missing_is_told(
    postgresql_url: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    found = doctor(postgresql_url, monkeypatch)
    assert found.status == "problem"
    assert "needs a driver that is not here: " in found.found
    assert "run `make setup`, or `pip install 'psycopg[binary]'`" in found.found


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:s3same@host/db", "postgresql://ann:***@host/db"),
        ("postgresql://ann:s3@same:s3/same@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("postgresql://:s3same@host/db", "postgresql://:***@host/db"),
        ("postgresql://ann@host:5432/db?sslmode=require", "postgresql://ann@host:5432/db?sslmode=require"),
        ("postgresql:///db?host=/run&password=s3same&x=1", "postgresql:///db?host=/run&password=***&x=1"),
        ("postgresql://h/db?sslPassword=s3same", "postgresql://h/db?sslPassword=***"),
        ("ann:s3same@host/db", "ann:***@host/db"),
        ("sqlite:////folder/file.db", "sqlite:////folder/file.db"),
    ],
)
def test_passwords_are_hidden_wherever_they_stand(url: str, shown: str) -> None:
    assert hidden(url) == shown


@pytest.mark.parametrize(
    ("line", "said"), [('database_url = ["{}"]', "is not allowed"), ('databaseurl = "{}"', "is no setting")]
)
def test_a_wrong_settings_file_is_told_without_the_password(line: str, said: str, workplace: Path) -> None:
    (workplace / "whylike.toml").write_text(line.format("postgresql://ann:s3same@host/db"))
    with pytest.raises(UsageError, match=said) as raised:
        load()
    assert "s3same" not in str(raised.value)


def test_no_log_and_no_error_has_the_password(
    here: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, admin: Engine
) -> None:
    """Not even where everything is logged, as in a program that uses whylike."""
    file = tmp_path / "reviews.jsonl"
    file.write_text(json.dumps({"user_id": "u", "item_id": "i", "rating": 4, "text": "t", "timestamp": 5}))
    with caplog.at_level(logging.DEBUG), Store.open(here) as store:
        ingest(store, file)
        with pytest.raises(UsageError) as scale:
            store.fitting_scale(RatingScale(maximum=10), RatingScale())
        run(admin, "DROP TABLE reviews CASCADE")
        with pytest.raises(StoreError) as refused:
            store.counts()
    assert PurePath(store.database.name).name == admin.url.database
    assert 'refused: relation "reviews" does not exist; look for the reason in the log' in str(refused.value)
    for said in (str(scale.value), str(refused.value), caplog.text, repr(store.database.name)):
        assert "s3same" not in said
