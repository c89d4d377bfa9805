"""The thread of a conversation, by which it goes on where it was; the model is scripted, everything else is real."""

from __future__ import annotations

import sqlite3
import warnings
from typing import Any

import ormsgpack
import pytest
from conversing import Talk, say

from whylike.errors import EngineError, UsageError
from whylike.graph import conversation as module
from whylike.graph import saying, threads
from whylike.graph.pair import Services


def test_a_session_goes_on_where_it_was(talk: Talk, services: Services) -> None:
    with talk("dee") as conversation:
        say(conversation, "would I like Waltz of the Clerks?")
        say(conversation, "no, I love clerks")
    with talk(None) as conversation:
        assert conversation.user_id == "dee"
        question = conversation.question
        assert question is not None
        assert "you like clerks" in question["text"]
        say(conversation, "yes")
        assert "None of the" in say(conversation, "is there any singing in it?")
    assert len(services.store.preferences("dee")) == 1


def test_a_session_is_its_users_and_open_once(talk: Talk) -> None:
    with talk("dee") as conversation:
        say(conversation, "")
        with pytest.raises(UsageError, match="open elsewhere"), talk("dee"):
            pass
    with pytest.raises(UsageError, match="another user's"), talk("ann"):
        pass
    with pytest.raises(UsageError, match="no session"), talk(None, "never"):
        pass
    for name in ("", " ", "a\nb", "x" * 101):
        with pytest.raises(UsageError, match="no name"), talk("ann", name):
            pass


def test_a_turn_in_which_the_model_fails_is_answered_later(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    with talk("dee") as conversation:
        say(conversation, "")

        def fails(*_: object, **__: object) -> None:
            raise EngineError("the model is gone")

        with monkeypatch.context() as patched:
            patched.setattr(saying, "explain_fully", fails)
            with pytest.raises(EngineError):
                say(conversation, "would I like Waltz of the Clerks?")
        assert conversation.broken_off
    with talk("dee") as conversation:
        assert conversation.broken_off
        told = [part["text"] for part in conversation.go_on() if part["kind"] == "said"]
        assert told[0].startswith("Waltz of the Clerks: I expect")
        assert not conversation.broken_off


def test_what_a_node_writes_it_writes_once_however_often_it_runs(
    talk: Talk, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    with talk("eve") as conversation:
        say(conversation, "I saw Tarts at Dawn last night, 4 stars, the bread made me hungry")
        real = services.store.add_reviews

        def dies_after(_: object, *args: Any, **kwargs: Any) -> int:
            real(*args, **kwargs)
            raise EngineError("killed")

        with monkeypatch.context() as patched:
            patched.setattr(type(services.store), "add_reviews", dies_after)
            with pytest.raises(EngineError):
                say(conversation, "yes")
        list(conversation.go_on())
        assert len(services.store.pair_reviews("eve", "tarts")) == 1


def test_the_threads_hold_plain_data_and_nothing_is_warned_of(
    talk: Talk, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_STRICT_MSGPACK", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with talk("dee") as conversation:
            for turn in ("would I like Waltz of the Clerks?", "is it slow?", "no, I love clerks", "yes", "thanks"):
                say(conversation, turn)
            expected = conversation.state
    with sqlite3.connect(services.store.folder / threads.FILE) as connection:
        kinds = connection.execute("SELECT type, checkpoint FROM checkpoints").fetchall()
        written = connection.execute("SELECT type, value FROM writes").fetchall()
    assert kinds
    for kind, blob in [*kinds, *written]:
        assert kind in {"msgpack", "null", "empty"}
        if blob:
            _plain(ormsgpack.unpackb(blob))  # fails on any extension type, which stands for a class
    with talk("dee") as conversation:
        assert conversation.state == expected


def test_a_thread_of_before_a_change_of_classes_and_fields_still_opens(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Older(module.Talk, total=False):  # type: ignore[misc, name-defined]
        """As it may have been: with a field that is gone since, and without one that has come."""

        mood: str

    Older.__annotations__.pop("cited", None)
    with monkeypatch.context() as older:
        older.setattr(module, "Talk", Older)
        module.graph.cache_clear()
        with talk("dee") as conversation:
            say(conversation, "would I like Waltz of the Clerks?")
            assert say(conversation, "no, I love clerks").endswith("->")
    module.graph.cache_clear()
    with talk("dee") as conversation:
        assert conversation.question is not None
        assert "you like clerks" in say(conversation, "yes")
        assert "Waltz of the Clerks" in say(conversation, "is it slow?")


def test_only_the_latest_checkpoint_of_a_thread_is_kept(talk: Talk, services: Services) -> None:
    sizes = []
    with talk("dee") as conversation:
        for _ in range(3):
            say(conversation, "would I like Waltz of the Clerks?")
            with sqlite3.connect(services.store.folder / threads.FILE) as connection:
                sizes.append(connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0])
    assert sizes == [1, 1, 1]


def test_forgetting_removes_the_threads_that_name_the_reviews_and_leaves_the_others(
    talk: Talk, services: Services
) -> None:
    with talk("eve", "names") as conversation:
        say(conversation, "would I like Waltz of the Clerks?")
        cited = list(conversation.state["cited"])
    with talk("fay", "thanks") as conversation:
        say(conversation, "thank you very much")
    with talk("cam", "own") as conversation:
        say(conversation, "what do you know about me")
    threads.forget(services.store.folder, ["own"], cited[:1])
    raw = (services.store.folder / threads.FILE).read_bytes()
    assert cited[0].encode() not in raw.replace(b"thanks", b"")
    for name, there in (("names", False), ("own", False), ("thanks", True)):
        with talk(None, name) as conversation:
            assert bool(conversation.state) is there


def _plain(value: object) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            assert isinstance(key, str)
            _plain(each)
    elif isinstance(value, list):
        for each in value:
            _plain(each)
    else:
        assert value is None or isinstance(value, str | int | float | bool)
