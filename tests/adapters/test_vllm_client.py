"""How long the client of a vLLM server waits, in a time that passes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from whylike.adapters.engines.vllm_client import AgainError, Client, loopback
from whylike.errors import EngineError

DEADLINE = 10.0


class Hasty(asyncio.SelectorEventLoop):
    """A loop that does not wait: where nothing is to be done before a time, it is that time."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0
        select = self._selector.select

        def hasty(timeout: float | None = None) -> Any:
            self._skipped += timeout or 0
            return select(0 if timeout else timeout)

        self._selector.select = hasty

    def time(self) -> float:
        return super().time() + self._skipped


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=Hasty) as runner:
        return runner.run(work)


async def answer(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"after {seconds:g}"


def test_an_answer_may_take_until_the_deadline():
    assert run(Client("http://127.0.0.1:1", DEADLINE, 1).persist(lambda: answer(9))) == "after 9"
    with pytest.raises(EngineError, match="has not answered for 10 seconds"):
        run(Client("http://127.0.0.1:1", DEADLINE, 1).persist(lambda: answer(11)))


def test_news_of_any_request_keep_the_others_waiting():
    async def both() -> str:
        client = Client("http://127.0.0.1:1", DEADLINE, 1)
        slow = asyncio.ensure_future(client.persist(lambda: answer(45)))
        for _ in range(5):
            await client.persist(lambda: answer(8))
        return await slow

    assert run(both()) == "after 45"


def test_failures_are_no_news():
    async def both() -> None:
        client = Client("http://127.0.0.1:1", DEADLINE, 1)

        async def busy() -> None:
            await asyncio.sleep(1)
            raise AgainError("it is busy", busy=True)

        await client.persist(busy)

    with pytest.raises(EngineError, match=r"has not answered for 10 seconds.*the last that it said: it is busy"):
        run(both())


def test_the_pauses_grow_and_end():
    asked = []

    async def unreachable() -> None:
        asked.append(asyncio.get_running_loop().time())
        raise AgainError("it cannot be reached")

    with pytest.raises(EngineError, match="cannot be reached"):
        run(Client("http://127.0.0.1:1", 3600, 1).persist(unreachable))
    assert len(asked) == 6
    assert asked[-1] - asked[0] < 8


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8311", True),
        ("http://127.1.2.3", True),
        ("http://[::1]:8311", True),
        ("http://localhost:1", True),
        ("http://0.0.0.0:8311", False),
        ("https://box:8311", False),
        ("http://localhost.example", False),
    ],
)
def test_what_leads_to_this_machine(url: str, here: bool):
    assert loopback(url) is here
