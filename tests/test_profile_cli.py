"""`whylike profile forget` and `readmit`: what is shown, what is asked, and what is refused."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from leftovers import left

from whylike.memory.store import Store
from whylike.settings import load

FORGET = ("profile", "forget", "--user", "quokka")
DAY = r"\d{1,2} [A-Z][a-z]+ 20\d\d"
ADD = ("review", "add", "--user", "quokka", "--item", "i1", "--rating", "4", "--text", "A flimwizz.")


@pytest.fixture
def known(run: Any, workplace: Path) -> Path:
    """The folder of a store with one review."""
    assert run(*ADD).exit_code == 0
    return workplace / "store"


def test_it_says_what_is_stored_and_removes_it(run: Any, known: Path) -> None:
    result = run(*FORGET, "--yes")
    assert (result.exit_code, result.stdout) == (0, "quokka is forgotten: reviews 1 removed.\n")
    shown, will, *_ = result.stderr.splitlines()
    assert shown == "Stored about quokka: reviews 1."
    assert "There is no way back." in will
    assert not left(known, ["quokka", "flimwizz"])
    again = run(*FORGET)
    assert again.exit_code == 0
    assert re.fullmatch(rf"quokka was forgotten on {DAY}; nothing is stored.\n", again.stdout)


def test_the_document(run: Any, known: Path) -> None:
    document = json.loads(run(*FORGET, "--yes", "--json").stdout)
    assert document["user_id"] == "quokka"
    assert document["removed"]["reviews"] == 1
    assert document["adapters"] == []
    assert json.loads(run(*FORGET, "--json").stdout) == {"user_id": "quokka", "removed": {}, "adapters": []}


def test_the_document_of_a_return(run: Any, known: Path) -> None:
    run(*FORGET, "--yes")
    assert json.loads(run("profile", "readmit", "--user", "quokka", "--json").stdout) == {"user_id": "quokka"}


def test_without_a_terminal_it_has_to_be_confirmed(run: Any, known: Path) -> None:
    result = run(*FORGET)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith("there is no terminal to ask at; give --yes\n")
    with Store.open(load()) as store:
        assert store.has_user("quokka")
        assert store.forgotten_at("quokka") is None


def test_one_review_is_removed_after_it_was_shown(run: Any, known: Path) -> None:
    remove = ("review", "remove", "--user", "quokka", "--item", "i1")
    run(*ADD[:-1], "A zibberish.", "--at", "2020-01-01")
    asked = run(*remove)
    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "“A flimwizz.”" in asked.stderr
    assert asked.stderr.endswith("removing a review cannot be undone, and there is no terminal to ask at; give --yes\n")
    with Store.open(load()) as store:
        newest, older = store.pair_reviews("quokka", "i1")
    document = json.loads(run(*remove, "--yes", "--json").stdout)
    assert document == {"review_id": newest.review_id, "user_id": "quokka", "item_id": "i1", "adapters": []}
    assert not left(known, ["flimwizz"])
    none = run(*remove, "--review", newest.review_id, "--yes")
    assert none.exit_code == 2
    assert f"quokka has no review of i1 with the id '{newest.review_id}' in the store" in none.stderr
    assert (
        run(*remove, "--review", older.review_id, "--yes").stdout == f"The review {older.review_id} of i1 is deleted.\n"
    )
    assert not left(known, ["zibberish"])


@pytest.mark.parametrize(("answer", "status"), [(b"n\n", 1), (b"\n", 1), (b"y\n", 0)])
def test_on_a_terminal_it_asks(known: Path, answer: bytes, status: int) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"WHYLIKE_STORE": str(known)}
    command = [sys.executable, "-m", "whylike.cli", *FORGET]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as child:
        os.write(ours, answer)
        out, err = child.communicate()
    os.close(ours)
    os.close(theirs)
    assert child.returncode == status, err
    assert b"Forget this user? [y/N]" in err
    assert (b"nothing was removed" in err) is bool(status)
    with Store.open(load()) as store:
        assert store.has_user("quokka") is bool(status)
    assert bool(out) is not bool(status)


def test_who_is_not_there_is_told_who_may_have_been_meant(run: Any, known: Path) -> None:
    result = run("profile", "forget", "--user", "quoka", "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "whylike: no user 'quoka' in the store; did you mean 'quokka'?\n"


def test_an_empty_store_and_none_at_all(run: Any, workplace: Path) -> None:
    result = run(*FORGET, "--yes")
    assert result.exit_code == 2
    assert "there is no store in" in result.stderr
    with Store.open(load()):
        pass
    result = run(*FORGET, "--yes")
    assert result.exit_code == 2
    assert "no user 'quokka' in the store and none like it" in result.stderr


def test_one_who_was_forgotten_is_refused_until_readmitted(run: Any, known: Path) -> None:
    run(*FORGET, "--yes")
    refused = run(*ADD)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert re.search(rf"asked to be forgotten on {DAY}; ", refused.stderr)
    assert "`whylike profile readmit --user U`" in refused.stderr
    assert run("profile", "readmit", "--user", "quokka").stdout == "Reviews of quokka are taken in again.\n"
    assert run(*ADD).exit_code == 0
    result = run("profile", "readmit", "--user", "quokka")
    assert result.exit_code == 2
    assert "no user 'quokka' was forgotten" in result.stderr


@pytest.mark.usefixtures("known")
def test_what_a_user_says_of_their_taste_is_noted_replaced_and_taken_back(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    edit = ("profile", "edit", "--user", "quokka")
    assert run(*edit).stdout == "quokka has said nothing of their own taste.\n"
    said = json.loads(run(*edit, "--like", "long films", "--dont-mind", "subtitles", "--json").stdout)["said"]
    assert {(each["attitude"], each["about"]) for each in said} == {
        ("like", "long films"),
        ("indifferent", "subtitles"),
    }
    said = json.loads(run(*edit, "--dislike", "a long film", "--json").stdout)["said"]
    assert {(each["attitude"], each["about"]) for each in said} == {
        ("dislike", "a long film"),
        ("indifferent", "subtitles"),
    }
    shown = run("profile", "show", "--user", "quokka", "--json")
    assert json.loads(shown.stdout)["said"] == said
    left_ = run(*edit, *(f"--withdraw={each['preference_id']}" for each in said if each["about"] == "subtitles"))
    assert left_.stdout.count("Said on") == 1
    assert "dislikes a long film" in left_.stdout


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--user", "quokk", "--like", "x"), "did you mean 'quokka'"),
        (("--user", "quokka", "--withdraw", "nothing"), "has said nothing by the id"),
        (("--user", "quokka", "--like", " "), "says nothing that can be noted"),
        (("--user", "quokka", "--like", "Long films", "--dislike", "long films"), "is given more than once"),
        (("--user", "quokka", "--like", "w " * 11), "says nothing that can be noted"),
    ],
)
def test_what_cannot_be_noted_is_refused(run: Any, known: Path, args: tuple[str, ...], why: str) -> None:
    result = run("profile", "edit", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
