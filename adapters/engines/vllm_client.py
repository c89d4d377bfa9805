"""Requests to one vLLM server: what is tried again, how long an answer is waited for, and what is told of a failure.

The deadline is one of silence. It runs from the call or from the last news of any request, whichever is later: a
server that works through a long queue is never given up, and one that hangs fails everything that waits at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from whylike.adapters.engines import refusals
from whylike.errors import EngineError

ATTEMPTS = 6
"""How often a request is tried where the server cannot be reached or fails; with the pauses some seconds in all."""
PAUSE = 0.25
"""Seconds that the first pause takes at most; each further one may take twice as long, and is drawn at random."""
LONGEST_PAUSE = 8.0
"""Seconds that no pause exceeds, unless the server asks for more."""
CONNECT = 10.0
"""Seconds that a connection may take."""
KEPT = 2.0
"""Seconds that an idle connection is kept: fewer than those after which vLLM closes it."""
BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
"""What a server answers that is there and has no room; tried again until the deadline."""
FAILED = {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}
"""What may be gone another time."""

T = TypeVar("T")
Json = dict[str, Any]


class AgainError(EngineError):
    """What failed may be tried again; the message is what the user is told where it is not."""

    def __init__(self, message: str, *, busy: bool = False, after: float = 0.0) -> None:
        """`busy`: the server is there and asks to wait; `after`: for at least so many seconds."""
        super().__init__(message)
        self.busy = busy
        self.after = after


class FailedError(AgainError):
    """The server failed at this request."""


class UnknownModelError(EngineError):
    """The server has no model or adapter of the name that was asked for."""


class Client:
    """Speaks to one server, on one event loop; at most `concurrency` requests are under way at once."""

    def __init__(self, url: str, deadline: float, concurrency: int) -> None:
        """`url`: http(s)://host:port; `deadline`: seconds of silence after which a request fails."""
        self.url = url.rstrip("/")
        self._deadline = deadline
        self._heard = 0.0
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(None, connect=CONNECT),
            limits=httpx.Limits(max_connections=concurrency, keepalive_expiry=KEPT),
            trust_env=not loopback(self.url),  # no proxy stands between a machine and itself
        )

    async def models(self) -> list[Json]:
        """What the server has: of each model or adapter its `id`, its `parent`, and a base model's `max_model_len`."""
        answer = await self.persist(lambda: self._ask("GET", "/v1/models"))
        models = answer.get("data")
        if not isinstance(models, list) or not all(isinstance(model, dict) and "id" in model for model in models):
            raise EngineError(self._strange("no list of models"))
        return models

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Have the server load an adapter. Raises `EngineError` where it does not or may not."""
        asked = {"lora_name": name, "lora_path": str(folder.resolve())}

        async def once() -> None:
            try:
                await self._ask("POST", "/v1/load_lora_adapter", asked)
            except FailedError as error:  # of a damaged adapter, which stays one
                raise EngineError(str(error)) from error

        try:
            await self.persist(once)
        except EngineError as error:
            if "already been loaded" in str(error):  # by another process, just now
                return
            raise EngineError(
                f"the vLLM server at {self.url} does not have the adapter {name} and did not load it ({error}); "
                f"restart it with `whylike vllm down` and `whylike vllm up`, or on another machine with what "
                f"`whylike vllm up --print` prints"
            ) from error

    async def unload_adapter(self, name: str) -> None:
        """Have the server forget an adapter, if it has it. Raises `EngineError`."""
        with suppress(UnknownModelError):
            await self.persist(lambda: self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name}))

    async def complete(self, body: Json) -> Json:
        """The one choice of a completion. Raises `EngineError`."""

        async def once() -> Json:
            return self._choice(await self._ask("POST", "/v1/completions", body))

        return await self.persist(once)

    async def stream(self, body: Json, take: Callable[[Json], bool]) -> None:
        """Give `take` the parts of a completion's choice as they come, until it returns true.

        Raises `EngineError`; once a part was taken nothing is tried again.
        """
        taken = False

        async def once() -> None:
            nonlocal taken
            try:
                async with self._opened("POST", "/v1/completions", body | {"stream": True}) as response:
                    async for part in self._parts(response):
                        taken = True
                        self._heard = _now()
                        if take(part):
                            return
                raise AgainError(self._broken("it stopped sending"))
            except AgainError as error:
                if taken:
                    raise EngineError(str(error)) from error
                raise

        await self.persist(once)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and ask again after a pause where that may help, until the deadline.

        Raises `EngineError` with the last reason.
        """
        trouble: list[AgainError] = []

        def pause(state: RetryCallState) -> float:
            again = state.outcome.exception() if state.outcome else None
            assert isinstance(again, AgainError)
            trouble.append(again)
            return max(again.after, wait_random_exponential(multiplier=PAUSE, max=LONGEST_PAUSE)(state))

        def enough(state: RetryCallState) -> bool:
            again = state.outcome.exception() if state.outcome else None
            return isinstance(again, AgainError) and not again.busy and state.attempt_number >= ATTEMPTS

        async def once() -> T:
            return await ask()

        attempts = AsyncRetrying(retry=retry_if_exception_type(AgainError), wait=pause, stop=enough, reraise=True)
        began = _now()
        task: asyncio.Task[T] = asyncio.ensure_future(attempts(once))
        try:
            while not task.done():
                left = max(self._heard, began) + self._deadline - _now()
                if left <= 0:
                    raise EngineError(self._silent(trouble))
                await asyncio.wait({task}, timeout=left)
            answer = task.result()
            self._heard = _now()
            return answer
        finally:
            task.cancel()

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        async with self._opened(method, path, body) as response:
            content = await response.aread()
        if path.endswith("adapter"):  # answered with a word
            return {}
        return self._json(content)

    @asynccontextmanager
    async def _opened(self, method: str, path: str, body: Json | None) -> AsyncIterator[httpx.Response]:
        """The response to a request, once its status is good. Raises `AgainError` or another `EngineError`."""
        try:
            async with self._http.stream(method, path, json=body) as response:
                if response.status_code != HTTPStatus.OK:
                    raise self._refusal(response, refusals.message(await response.aread()))
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise AgainError(
                f"the vLLM server at {self.url} cannot be reached ({refusals.said(error)}); start it with "
                f"`whylike vllm up`, or set vllm_url to one that runs"
            ) from error
        except httpx.TransportError as error:
            raise AgainError(self._broken(refusals.said(error))) from error

    async def _parts(self, response: httpx.Response) -> AsyncIterator[Json]:
        async for line in response.aiter_lines():
            name, _, data = line.partition(":")
            if name == "data" and data.strip() != "[DONE]":
                part = self._json(data)
                if "error" in part:
                    raise EngineError(self._broken(str(part["error"])))
                yield self._choice(part)

    def _json(self, content: bytes | str) -> Json:
        try:
            found = json.loads(content)
        except ValueError as error:
            raise EngineError(self._strange(f"broken JSON: {error}")) from error
        if not isinstance(found, dict):
            raise EngineError(self._strange("JSON that is no object"))
        return found

    def _choice(self, answer: Json) -> Json:
        choices = answer.get("choices")
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            raise EngineError(self._strange("an answer without its one choice"))
        choice: Json = choices[0]
        if choice.get("finish_reason") not in {None, "stop", "length"}:  # it is shut down, or its engine died
            raise AgainError(self._broken(f"finish_reason {choice['finish_reason']}"))
        return choice

    def _refusal(self, response: httpx.Response, message: str) -> EngineError:
        """What an answer with a bad status means."""
        status, of = response.status_code, f"the vLLM server at {self.url}"
        if status in BUSY:
            return AgainError(f"{of} is busy ({status} {message})", busy=True, after=refusals.pause(response.headers))
        if status in FAILED:
            return FailedError(
                f"{of} failed ({status} {message}); see its log, or restart it with `whylike vllm down` and "
                f"`whylike vllm up`"
            )
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return EngineError(
                f"{of} asks for a key ({status} {message}), and whylike sends none; start it without --api-key"
            )
        if status == HTTPStatus.NOT_FOUND:
            return UnknownModelError(f"{of} does not know what was asked for ({status} {message})")
        return EngineError(f"{of} refused the request ({status} {message})")

    def _silent(self, trouble: list[AgainError]) -> str:
        last = f"; the last that it said: {trouble[-1]}" if trouble else ""
        return (
            f"the vLLM server at {self.url} has not answered for {self._deadline:g} seconds; look at its log or "
            f"restart it with `whylike vllm down` and `whylike vllm up`, or set vllm_deadline higher{last}"
        )

    def _broken(self, how: str) -> str:
        return (
            f"the vLLM server at {self.url} broke off in the middle of an answer ({how}); once `whylike vllm status` "
            f"says that it is healthy, run the same command again, which goes on from what is stored"
        )

    def _strange(self, what: str) -> str:
        return f"what answers at {self.url} is not like a vLLM server ({what}); set vllm_url to one"


def loopback(url: str) -> bool:
    """Whether `url` leads to this machine itself."""
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _now() -> float:
    return asyncio.get_running_loop().time()
