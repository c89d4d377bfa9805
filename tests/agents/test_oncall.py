"""A teacher on call: what it fails at is told in a few words, and then it is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import endpoint
import pytest
from endpoint import HANGS, Answer, Raw, Server, said

from whylike.adapters.engines.base import Message, Prompt
from whylike.agents.endpoint import FRAME, MAX_TOKENS
from whylike.agents.oncall import AWAY, LONGEST_AWAY, OnCall, UnheardError
from whylike.memory.spending import Purpose
from whylike.memory.store import Store
from whylike.settings import Settings

PROMPT = Prompt(messages=(Message(role="user", content="Why?"),))


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[Server]:
    with endpoint.opened() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Settings(store=tmp_path / "store")) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(server: Server, store: Store, clock: Clock) -> Callable[..., OnCall]:
    return lambda **more: OnCall(
        store, Settings(**{"teacher_base_url": server.url, "teacher_model": "big"} | more), clock
    )


Opened = Callable[..., OnCall]


def reason(on_call: OnCall, seconds: float = 60) -> str:
    return on_call.ask(lambda one: one.reason(PROMPT, seconds))


def test_a_live_call_is_made_once_and_booked_as_one(server: Server, store: Store, opened: Opened):
    server.answers = [said(" Because.\n"), (500, {})]
    on_call = opened()
    assert reason(on_call) == "Because."
    with pytest.raises(UnheardError, match=r"^500 \{\}$"):
        reason(on_call)
    assert len(server.asked) == 2, "a user waits: nothing is tried again"
    assert [(call.purpose, call.outcome) for call in store.calls()] == [
        (Purpose.LIVE_REASON, "answered"),
        (Purpose.LIVE_REASON, "failed"),
    ]


def test_a_call_is_booked_with_its_most_before_it_is_made(server: Server, store: Store, opened: Opened):
    seen = []

    def answer(_: Any) -> Answer:
        seen.extend(store.calls())
        return said("Yes.", usage={"prompt_tokens": 9, "completion_tokens": 2})

    server.answer = answer
    reason(opened())
    [booked], [settled] = seen, store.calls()
    assert (booked.outcome, booked.tokens_in, booked.tokens_out) == ("asked", 4 + FRAME, MAX_TOKENS)
    assert (settled.outcome, settled.tokens_in, settled.tokens_out) == ("answered", 9, 2)


@pytest.mark.parametrize(
    ("answer", "why", "away"),
    [
        ((HANGS, None), "no answer within 0.2 s", AWAY),
        ((401, {"error": {"message": "wrong key"}}), "401 wrong key", AWAY),
        ((200, {"choices": []}), "it sent no chat completion", AWAY),
        (Raw(429, b"slow down", {"retry-after": "300"}), "429 slow down", 300),
        (Raw(429, b"slow down", {"retry-after": "inf"}), "429 slow down", LONGEST_AWAY),
    ],
)
def test_after_a_failure_it_is_left_alone_for_a_while(
    server: Server, store: Store, opened: Opened, clock: Clock, *, answer: Any, why: str, away: float
):
    server.answers = [answer, said("Back.")]
    on_call = opened()
    with pytest.raises(UnheardError, match=f"^{why}$"):
        reason(on_call, 0.2)
    clock.now += away - 1
    with pytest.raises(UnheardError, match=f"it is left alone for another 1 s, after: {why}"):
        reason(on_call)
    assert len(server.asked) == len(store.calls()) == 1
    clock.now += 1
    assert reason(on_call) == "Back."


def test_a_budget_that_is_used_up_is_no_failure_of_the_teacher(server: Server, opened: Opened):
    with pytest.raises(UnheardError, match="0 of 0 calls"):
        reason(opened(teacher_calls=0))
    assert not server.asked
    server.answers = [said("Yes."), said("No.")]
    on_call = opened(teacher_calls=1)
    assert reason(on_call) == "Yes."
    for _ in range(2):
        with pytest.raises(UnheardError, match="1 of 1 calls"):
            reason(on_call)


def test_without_a_teacher_or_a_key_that_can_be_read_nobody_is_asked(opened: Opened, tmp_path: Path):
    with pytest.raises(UnheardError, match="no teacher is set"):
        reason(opened(teacher_model=None))
    with pytest.raises(UnheardError, match=r"teacher_key_file .* cannot be read"):
        reason(opened(teacher_key_file=tmp_path / "none"))
