"""One question to a teacher's endpoint: whatever it does, there is an answer or an error in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import endpoint
import pytest
from endpoint import DRIPS, HANGS, Answer, Raw, Server, said

from whylike.adapters.engines.base import Message, Prompt
from whylike.agents.endpoint import FRAME, LARGEST, LONGEST, MAX_TOKENS, Endpoint, NotAnsweredError
from whylike.memory.spending import Spent

PROMPT = Prompt(messages=(Message(role="system", content="Say yes."), Message(role="user", content="Naïve?")))
MOST = Spent(calls=1, tokens_in=8 + 7 + 2 * FRAME, tokens_out=MAX_TOKENS)
KEY = "sk-0123456789"


@pytest.fixture
def server() -> Iterator[Server]:
    with endpoint.opened() as made:
        yield made


def ask(server: Server, *answers: Answer, seconds: float = 60) -> Any:
    server.answers = list(answers)
    return Endpoint(server.url, "big", KEY).ask(PROMPT, temperature=0, seconds=seconds)


def failure(server: Server, answer: Answer, seconds: float = 60) -> NotAnsweredError:
    with pytest.raises(NotAnsweredError) as failed:
        ask(server, answer, seconds=seconds)
    assert len(server.asked) == 1, "nothing is asked twice here"
    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 500
    return failed.value


def test_a_call_takes_what_the_server_says_it_took(server: Server):
    found = ask(server, said("Yes.", usage={"prompt_tokens": 17, "completion_tokens": 3}))
    assert (found.text, found.took) == ("Yes.", Spent(calls=1, tokens_in=17, tokens_out=3))
    [(_, key, body)] = server.asked
    assert key == f"Bearer {KEY}"
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("big", MAX_TOKENS, 0)
    assert [turn["content"] for turn in body["messages"]] == ["Say yes.", "Naïve?"]


@pytest.mark.parametrize(
    "usage", [None, [], {}, {"prompt_tokens": -1, "completion_tokens": "3"}, {"prompt_tokens": 10**30}]
)
def test_where_it_does_not_say_the_most_is_taken(server: Server, usage: Any):
    assert Endpoint.most(PROMPT) == MOST
    assert ask(server, said("Déjà", usage=usage)).took == Spent(calls=1, tokens_in=MOST.tokens_in, tokens_out=6)


def test_what_was_cut_off_is_none_and_what_is_written_has_no_control_characters(server: Server):
    assert ask(server, said("Ye", "length")).text is None
    assert ask(server, said("Y\x00e\x1b[31ms\nno")).text == "Y e [31ms\nno"


@pytest.mark.parametrize("answer", [HANGS, DRIPS])
def test_one_that_hangs_or_never_ends_is_given_up_in_time(server: Server, answer: int):
    error = failure(server, (answer, None), seconds=0.2)
    assert (error.brief, error.again, error.took) == ("no answer within 0.2 s", True, True)


def test_who_gives_up_hangs_up(server: Server):
    failure(server, (DRIPS, None), seconds=0.2)
    assert server.left.wait(60), "or a slow teacher would be kept busy, and paid, for nobody"


def test_one_that_runs_in_an_event_loop_can_ask_too(server: Server):
    async def within() -> Any:
        return ask(server, said("Yes."))

    assert asyncio.run(within()).text == "Yes."


@pytest.mark.parametrize(
    ("answer", "brief", "told"),
    [
        (Raw(429, b"{}", {"retry-after": "7"}), "429 {}", (True, False, 7)),
        (Raw(429, b"slow down", {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), "429 slow down", (True, False, 0)),
        ((503, {"error": {"message": "loading"}}), "503 loading", (True, True, 0)),
        ((401, {"error": {"message": f"no such key: {KEY}"}}), "401 no such key: ***", (False, False, 0)),
        ((404, {"detail": "Not Found"}), '404 {"detail": "Not Found"}', (False, False, 0)),
        (Raw(302, b"", {"location": "http://127.0.0.1:1/"}), "302 without a word", (False, False, 0)),
        (Raw(500, b"x" * LARGEST), f"500 {'x' * 200}", (True, True, 0)),
        (Raw(200, b"\x00\xff" * LARGEST), "it answers without end", (False, True, 0)),
    ],
)
def test_refusals(server: Server, answer: Answer, brief: str, told: tuple[bool, bool, float]):
    error = failure(server, answer)
    assert (error.brief, (error.again, error.took, error.after)) == (brief, told)
    assert KEY not in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        Raw(200, b"<html>It works!</html>"),
        Raw(200, b""),
        Raw(200, b"[" * 100_000),
        Raw(200, b'{"choices": [{"message": {"content": "\\ud800"}}]}'),
        (200, []),
        (200, {"choices": []}),
        (200, {"choices": [{"message": {"content": ["Yes."]}}]}),
        (200, {"error": {"message": "no"}}),
        said("x" * (LONGEST + 1)),
        Raw(200, json.dumps(said("Yes.")[1]).encode() + b" " * LARGEST),
    ],
)
def test_nonsense(server: Server, answer: Answer):
    error = failure(server, answer)
    assert "not like an OpenAI-compatible server" in str(error)
    assert (error.again, error.took) == (False, True)


def test_one_that_hangs_up_and_one_that_is_not_there(server: Server):
    error = failure(server, Raw(200, b"{}", {"content-length": "99"}))
    assert (error.again, error.took) == (True, True)
    with endpoint.opened() as gone:
        pass
    with pytest.raises(NotAnsweredError, match=r"did not answer .*teacher_base_url") as failed:
        ask(gone)
    assert (failed.value.again, failed.value.took) == (True, False)


def test_a_password_in_the_url_is_not_told():
    there = Endpoint("http://ann:secret@127.0.0.1:1/v1", "big", KEY)
    with pytest.raises(NotAnsweredError, match=r"ann:\*\*\*@127") as failed:
        there.ask(PROMPT, temperature=0, seconds=60)
    assert "secret" not in str(failed.value)
