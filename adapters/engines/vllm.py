"""The vLLM engine: the experts run on a vLLM server, several LoRA adapters over one base model.

Any server with vLLM's OpenAI-compatible API will do. Prompts go there as token ids and answers come back as such, so no
text is read otherwise than by the other engines, and only the tokenizer is loaded here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, Literal, TypeVar

from whylike.adapters.engines.background import Background, result
from whylike.adapters.engines.base import Adapter, OnText, Weighed, Weighing, Writing, Written
from whylike.adapters.engines.grammar import Grammars
from whylike.adapters.engines.model import base_version, find_base
from whylike.adapters.engines.rendering import Renderer
from whylike.adapters.engines.text import Text
from whylike.adapters.engines.vllm_client import Client, Json, UnknownModelError
from whylike.errors import EngineError
from whylike.records import Expert
from whylike.settings import Settings

PLAIN = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""Sampling without the tricks that a server may be set to."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tools:
    """What is made of the tokenizer; used under the engine's lock, since tokenizers mind several threads."""

    renderer: Renderer
    grammars: Grammars
    ends: frozenset[int]
    """The tokens that end a text."""


def served_name(model: str) -> str:
    """What a server calls the base model that the setting `model` names."""
    return base_version(model).removeprefix("base:")


class VllmEngine:
    """Runs the experts on a vLLM server. It is reached, and the tokenizer loaded, at the first request.

    The server knows an adapter by its version, which no other content ever has: its prefix cache goes by names.
    """

    def __init__(self, settings: Settings, adapters: Mapping[Expert, Adapter] | None = None) -> None:
        """`adapters`: of each expert that has one; the server loads those that it does not have."""
        self._settings = settings
        self._adapters = dict(adapters or {})
        self._base = served_name(settings.model)
        self._background = Background()
        self._client = Client(settings.vllm_url, settings.vllm_deadline, settings.vllm_concurrency)
        self._lock = threading.Lock()
        self._tools: Tools | None = None
        self._names: set[str] = set()
        self._window = 0
        # The rest is only for the loop's thread.
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._running: Counter[str] = Counter()
        self._retired: set[str] = set()
        self._unloads: dict[str, asyncio.Task[None]] = {}
        self._adopting = asyncio.Lock()

    @property
    def name(self) -> str:
        """`vllm`."""
        return "vllm"

    def adapter_version(self, expert: Expert) -> str:
        """The version of the expert's adapter, or `base:<model>` where it has none."""
        return self._signature(self._adapters.get(expert))

    def adopt(self, adapters: Mapping[Expert, Adapter]) -> None:
        """Have these adapters answer the requests that begin afterwards; the server has loaded them by then.

        Those that answer for no expert any more are unloaded once no request of this engine needs them; another process
        that still asks for one has it loaded again.

        Raises `EngineError` where the server does not load one of them, and on a closed engine.
        """
        result(self._background.start(partial(self._adopt, dict(adapters))))

    def write(self, requests: Sequence[Writing]) -> list[Written]:
        """One text for each request, in order.

        Raises `EngineError` for a request that fails, a server that cannot be reached or does not answer, and a closed
        engine.
        """
        live = self._adapters
        return self._background.together([self._writing(request, live.get(request.expert)) for request in requests])

    def weigh(self, requests: Sequence[Weighing]) -> list[Weighed]:
        """The label probabilities for each request, in order.

        Raises `EngineError` as `write` does, and for a label that is not a single token.
        """
        live = self._adapters
        return self._background.together([self._weighing(request, live.get(request.expert)) for request in requests])

    def stream(self, request: Writing, on_text: OnText) -> Written:
        """As `write`, telling `on_text` each piece, on the caller's thread; what it raises ends the request."""
        pieces: SimpleQueue[str | None] = SimpleQueue()
        adapter = self._adapters.get(request.expert)
        future = self._background.start(self._writing(request, adapter, pieces.put))
        future.add_done_callback(lambda _: pieces.put(None))
        try:
            while (piece := pieces.get()) is not None:
                on_text(piece)
            return result(future)
        finally:
            future.cancel()

    def close(self) -> None:
        """End the thread and the connections; requests that are under way get an `EngineError`."""
        self._background.close(self._client.close)

    def _writing(
        self, request: Writing, adapter: Adapter | None, tell: Callable[[str], None] | None = None
    ) -> Callable[[], Coroutine[Any, Any, Written]]:
        """What asks for a text. Raises `EngineError` where the request itself is wrong."""
        with self._lock:
            tools = self._loaded()
            ids = tools.renderer.render(request.prompt).ids
            if request.grammar is not None:
                tools.grammars.guide(request.grammar)
        return partial(self._written, request, adapter, ids, tools, tell)

    def _weighing(self, request: Weighing, adapter: Adapter | None) -> Callable[[], Coroutine[Any, Any, Weighed]]:
        """What asks for probabilities. Raises `EngineError` where the request itself is wrong."""
        with self._lock:
            renderer = self._loaded().renderer
            ids = renderer.render(request.prompt).ids
            labels = [renderer.label(label) for label in request.labels]
        return partial(self._weighed, adapter, ids, labels)

    def _loaded(self) -> Tools:
        """The tokenizer and what is made of it; the caller holds the lock."""
        if self._tools is None:
            base = find_base(self._settings)
            renderer = Renderer(base.tokenizer)
            grammars = Grammars(base.tokenizer, base.config.get_text_config().vocab_size, sorted(base.ends))
            self._tools = Tools(renderer, grammars, base.ends | renderer.special)
        return self._tools

    def _signature(self, adapter: Adapter | None) -> str:
        return adapter.version if adapter else f"base:{self._base}"

    async def _written(
        self,
        request: Writing,
        adapter: Adapter | None,
        ids: tuple[int, ...],
        tools: Tools,
        tell: Callable[[str], None] | None,
    ) -> Written:
        async def ask(model: str, room: int) -> Written:
            limit = min(request.max_tokens, room)
            body = PLAIN | {
                "model": model,
                "prompt": ids,
                # One more where a grammar may end the text: its end is a token too.
                "max_tokens": min(limit + (request.grammar is not None), room),
                "temperature": request.temperature,
                "stop": request.stop,
                "include_stop_str_in_output": True,  # where several end in one token, `Text` chooses as elsewhere
                "stop_token_ids": sorted(tools.ends),
                "return_token_ids": True,
            }
            if request.temperature:
                body["seed"] = request.seed % 2**63
            if request.grammar is not None:
                body["structured_outputs"] = {"grammar": request.grammar}
            answer = Answer(request.stop, limit, tools, tell)
            if tell:
                await self._client.stream(body, answer.take)
            else:
                answer.take(await self._client.complete(body))
            return Written(
                text=answer.text.text,
                adapter_version=self._signature(adapter),
                finish=answer.finish,
                prompt_tokens=len(ids),
                tokens=answer.tokens,
            )

        return await self._served(adapter, len(ids), ask)

    async def _weighed(self, adapter: Adapter | None, ids: tuple[int, ...], labels: list[int]) -> Weighed:
        async def ask(model: str, room: int) -> Weighed:
            body = {
                "model": model,
                "prompt": ids,
                "max_tokens": 1,
                "temperature": 0.0,
                "logprobs": len(labels),
                "logprob_token_ids": labels,
                "return_tokens_as_token_ids": True,
            }
            choice = await self._client.complete(body)
            try:
                told = choice["logprobs"]["top_logprobs"][0]
                logprobs = [float(told[f"token_id:{label}"]) for label in labels]
            except (LookupError, TypeError, ValueError):
                raise EngineError(
                    f"the vLLM server at {self._client.url} gives no log probabilities of given tokens; "
                    f"it must be vLLM 0.32 or newer"
                ) from None
            return Weighed(probabilities=_softmax(logprobs), adapter_version=self._signature(adapter))

        return await self._served(adapter, len(ids), ask)

    async def _served(self, adapter: Adapter | None, length: int, ask: Callable[[str, int], Awaitable[T]]) -> T:
        """What `ask` gets from an adapter or the base model, told its name and how many tokens fit behind `length`.

        Raises `EngineError` where the prompt is too long or the server neither has the model nor loads it.
        """
        name = adapter.version if adapter else self._base
        self._running[name] += 1
        try:
            for last in (False, True):
                if name not in self._names:
                    await self._find(adapter, name)
                if length >= self._window:
                    raise EngineError(
                        f"the prompt has {length} tokens and the base model takes at most {self._window}; "
                        f"shorten the prompt"
                    )
                try:
                    return await ask(name, self._window - length)
                except UnknownModelError:
                    if last:
                        raise
                    self._names.discard(name)  # another server stands there since, or another process unloaded it
        finally:
            self._running[name] -= 1
            self._let_go(name)
        raise AssertionError("the second time returns or raises")

    async def _adopt(self, adapters: dict[Expert, Adapter]) -> None:
        wanted = {adapter.version for adapter in adapters.values()}
        async with self._adopting:
            self._retired -= wanted
            try:
                for adapter in adapters.values():
                    if adapter.version not in self._names:
                        await self._find(adapter, adapter.version)
            except EngineError:
                self._retire(wanted - {adapter.version for adapter in self._adapters.values()})
                raise
            before, self._adapters = self._adapters, adapters
            self._retire({adapter.version for adapter in before.values()} - wanted)

    def _retire(self, names: set[str]) -> None:
        self._retired |= names
        for name in names:
            self._let_go(name)

    def _let_go(self, name: str) -> None:
        """Have the server unload a retired adapter that no request needs."""
        if name in self._retired & self._names and not self._running[name] and name not in self._unloads:
            self._names.discard(name)
            self._unloads[name] = asyncio.create_task(self._unload(name))

    async def _unload(self, name: str) -> None:
        try:
            await self._client.unload_adapter(name)
        except EngineError as error:  # it stays until the server ends, and nothing asks for it
            log.warning("the adapter %s is no longer needed, but stays loaded: %s", name, error)
        finally:
            del self._unloads[name]

    async def _find(self, adapter: Adapter | None, name: str) -> None:
        """See that the server has a model of this name; all that wait for one share one look, and what comes of it."""
        if name in self._unloads:
            await asyncio.wait({self._unloads[name]})
        look = self._looks.get(name)
        if look is None:
            look = self._looks[name] = asyncio.create_task(self._look(adapter, name))
            look.add_done_callback(partial(self._seen, name))
        await asyncio.shield(look)

    def _seen(self, name: str, look: asyncio.Task[None]) -> None:
        del self._looks[name]
        if not look.cancelled():
            look.exception()  # taken note of, also where nobody waits any more

    async def _look(self, adapter: Adapter | None, name: str) -> None:
        """Learn what the server has, and have it load an adapter that is missing."""
        models = await self._client.models()
        windows = {model["id"]: int(model["max_model_len"]) for model in models if model.get("max_model_len")}
        if self._base not in windows:
            raise EngineError(
                f"the vLLM server at {self._client.url} runs {', '.join(windows) or 'no model'} and not {self._base}; "
                f"set model to what it runs, or restart it with `whylike vllm down` and `whylike vllm up`"
            )
        self._window = windows[self._base]
        if adapter and name not in {model["id"] for model in models}:
            await self._client.load_adapter(name, adapter.folder)
        self._names.add(name)


class Answer:
    """A text as its tokens come from the server."""

    def __init__(self, stop: tuple[str, ...], limit: int, tools: Tools, tell: Callable[[str], None] | None) -> None:
        """`limit`: tokens after which it is cut; `tell`: told each new piece."""
        self.text = Text(stop)
        self.tokens = 0
        self.finish: Literal["stop", "length"] = "length"
        self._limit = limit
        self._tools = tools
        self._tell = tell

    def take(self, part: Json) -> bool:
        """Take the next part of the choice; whether the text is complete."""
        finish: Literal["stop", "length"] | None = part.get("finish_reason")
        for token in part.get("token_ids") or ():
            if token in self._tools.ends:
                finish = "stop"
                break
            if self.tokens == self._limit:
                finish = "length"
                break
            self.tokens += 1
            if self.text.add(self._tools.grammars.tokenizer.decode_bytes([token])):
                finish = "stop"
                break
        if finish:
            self.finish = finish
            self.text.add(b"", final=True)
        if self._tell and (piece := self.text.news(final=finish is not None)):
            self._tell(piece)
        return finish is not None


def _softmax(logprobs: Sequence[float]) -> tuple[float, ...]:
    highest = max(logprobs)
    weights = [math.exp(logprob - highest) for logprob in logprobs]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)
