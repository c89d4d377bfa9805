"""`whylike chat` at the command line: what is printed where, and that a session goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import whylike.cli
from whylike.graph.threads import FILE
from whylike.memory.ingest import ingest
from whylike.memory.store import Store
from whylike.settings import load

CORPUS = Path(whylike.cli.__file__).parent / "memory" / "demo_corpus"
SLOW = "would I like that slow Hong Kong film?"


@pytest.fixture
def films(workplace: Path) -> Path:
    """A store with the demo corpus."""
    with Store.open(load()) as store:
        ingest(store, CORPUS / "reviews.jsonl", items_file=CORPUS / "items.jsonl")
    return workplace / "store"


@pytest.fixture
def chat(films: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Holds a conversation in this process, with a scripted model: what is printed to the turns."""
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")

    def talk(*turns: str, args: tuple[str, ...] = ("--user", "kb1987", "--session", "s")) -> Any:
        result = CliRunner().invoke(whylike.cli.app, ["chat", *args], input="".join(f"{turn}\n" for turn in turns))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return talk


def test_turns_that_are_piped_in_are_shown_with_their_answers(chat: Any) -> None:
    result = chat("hello there", "", "is it slow?")
    assert result.exit_code == 0
    assert result.stdout.startswith("Hello, kb1987.")
    assert (
        "> hello there\nHello. Ask me whether you would like something; /help says what else I can do.\n"
        in result.stdout
    )
    assert "> is it slow?\nWhich item do you mean?\n" in result.stdout
    assert "Session s, user kb1987." in result.stderr
    assert result.stderr.rstrip().endswith("`whylike chat --session s` goes on here.")


def test_evidence_and_trace_are_shown_on_request(chat: Any) -> None:
    result = chat("would I like Nomadland", "is it slow?", "/evidence", "/why", "/help", "/nonsense", "/quit", "hello")
    shown = result.stdout.partition("> /evidence")[2]
    assert "\n[1] " in shown
    assert "on Nomadland (2020): " in shown
    trace = shown.partition("> /why")[2]
    assert " s  hear\n" in trace
    assert " s  follow_up\n" in trace
    assert "/evidence" in trace.partition("> /help")[2]
    assert "There is no /nonsense." in shown
    assert "hello" not in shown


def test_evidence_after_an_answer_that_names_no_review_says_whose_it_is(chat: Any) -> None:
    shown = chat("would I like Nomadland", "/evidence", "hello", "/evidence").stdout
    before, after = shown.partition("> hello")[::2]
    assert "The last answer names no review" not in before
    assert "The last answer names no review; these belong to the one before that does.\n[1] " in after


def test_no_line_is_wider_than_the_terminal(chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    result = chat("would I like Nomadland", "is it slow?", "what do you know about me", "/evidence")
    typed = [line for line in result.stdout.splitlines() if not line.startswith("> ")]
    assert max(map(len, typed)) <= 60


def test_a_session_goes_on_and_says_where_it_was(chat: Any) -> None:
    chat("would I like Nomadland", "no, I love slow films")
    again = chat("yes", args=("--session", "s"))
    assert "You said “no, I love slow films”. I said:" in again.stderr
    assert "Shall I? (yes or no)" in " ".join(again.stdout.split())
    assert "Noted: you like slow films." in again.stdout
    with Store.open(load()) as store:
        assert [each.about for each in store.preferences("kb1987")] == ["slow films"]


def test_a_user_who_has_all_deleted_is_gone_with_the_session(chat: Any) -> None:
    result = chat("forget me", "forget me", "hello")
    assert "kb1987 is forgotten: " in result.stdout
    assert "> hello" not in result.stdout
    again = chat("hello")
    assert again.exit_code == 2
    assert "asked to be forgotten" in again.stderr


def test_nothing_typed_reaches_the_terminal_as_a_command(chat: Any) -> None:
    result = chat("\x1b[31mred\x1b]0;title\x07 \u202eevil")
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_without_a_user_a_new_one_is_met(chat: Any) -> None:
    result = chat("happy endings", "gore", "skip", "yes", args=())
    assert "you like happy endings; you dislike gore" in " ".join(result.stdout.split())
    assert "user guest-" in result.stderr


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--session", "never"), "there is no session 'never'"),
        (("--user", "x\ny"), "--user"),
        (("--user", "kb1987", "--session", " "), "is no name"),
    ],
)
def test_what_cannot_be_opened_is_refused(chat: Any, args: tuple[str, ...], why: str) -> None:
    result = chat("hello", args=args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr


@pytest.mark.model
def test_a_conversation_with_the_real_model_that_is_killed_in_the_middle_of_an_answer_is_finished(films: Path) -> None:
    command = [sys.executable, "-m", "whylike.cli", "chat", "--store", str(films), "--session", "real"]
    own = {name: value for name, value in os.environ.items() if name != "WHYLIKE_CACHE"}
    begun = subprocess.Popen(
        [*command, "--user", "kb1987"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=own
    )
    assert begun.stdin is not None
    begun.stdin.write(f"{SLOW}\n")
    begun.stdin.flush()
    while not _kept(films, SLOW):
        assert begun.poll() is None
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    begun.stdin.close()
    done = subprocess.run(command, input="is it slow?\n", capture_output=True, text=True, check=True, env=own)
    said = " ".join(done.stdout.split())
    first = said.partition("> is it slow?")[0] or said
    assert "In the Mood for Love (2000): I expect that you would give it" in first
    assert "speak of “slow”" in said


def _kept(store: Path, text: str) -> bool:
    """Whether the conversations' database, or what SQLite has beside it for a moment, holds a text."""
    for each in store.glob(f"{FILE}*"):
        with suppress(FileNotFoundError):  # a journal goes when its transaction ends
            if text.encode() in each.read_bytes():
                return True
    return False
