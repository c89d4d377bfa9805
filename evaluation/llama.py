"""llama.cpp on the packaged model as it comes: an outside yardstick for the speed of engines.

It computes the base model in four bits (Q4_1), without adapters, and is no engine of whylike: only its speed is looked
at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

from whylike.adapters.engines.base import Prompt, Weighed, Weighing, Writing, Written
from whylike.adapters.engines.model import find_base, packaged_gguf
from whylike.adapters.engines.rendering import Renderer
from whylike.errors import EngineError
from whylike.evaluation.machine import machine
from whylike.settings import PACKAGED_MODEL, Settings

NAME = "llama.cpp"
AT_ONCE = 16
"""Requests that it computes at once."""
CONTEXT = 8192
"""Tokens that all of them have together."""
LIKELIEST = 100
"""Tokens whose probabilities are asked for; a label that is not among them counts as the last."""


def present(settings: Settings) -> bool:
    """Whether it can be measured here: its package is installed, and the base model is the one it has weights of."""
    return settings.model == PACKAGED_MODEL and find_spec("xllamacpp") is not None


class LlamaCpp:
    """Writes and weighs as an engine does, whichever expert is asked. `close` ends it.

    Raises `EngineError` where the model does not load.
    """

    def __init__(self, settings: Settings) -> None:
        import xllamacpp  # noqa: PLC0415 - only whoever develops whylike has it

        self._renderer = Renderer(find_base(settings).tokenizer)
        params = xllamacpp.CommonParams()
        params.model.path = str(packaged_gguf())
        params.n_parallel, params.n_ctx, params.kv_unified = AT_ONCE, CONTEXT, True
        params.n_gpu_layers = 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = machine().cores
        params.warmup = False
        params.verbosity = -1
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(f"llama.cpp did not load the packaged model ({error})") from error
        self._callers = ThreadPoolExecutor(AT_ONCE)

    def write(self, requests: Sequence[Writing]) -> list[Written]:
        """One text for each request, in order; greedily, and without its grammar. Raises `EngineError`."""
        return list(self._callers.map(self._write, requests))

    def weigh(self, requests: Sequence[Weighing]) -> list[Weighed]:
        """The label probabilities for each request, in order, one by one: so a shared beginning is read once.

        Raises `EngineError`.
        """
        return [self._weigh(request) for request in requests]

    def close(self) -> None:
        """End its threads and give back its memory."""
        self._callers.shutdown()
        self._server = None

    def _write(self, request: Writing) -> Written:
        done = self._asked(request.prompt, request.max_tokens)
        return Written(
            text=done["choices"][0]["text"],
            adapter_version=NAME,
            finish=done["choices"][0]["finish_reason"],
            prompt_tokens=done["usage"]["prompt_tokens"],
            tokens=done["usage"]["completion_tokens"],
        )

    def _weigh(self, request: Weighing) -> Weighed:
        done = self._asked(request.prompt, 1, n_probs=LIKELIEST, cache_prompt=request.prompt.shared > 0)
        told = {each["id"]: each["logprob"] for each in done["choices"][0]["logprobs"]["content"][0]["top_logprobs"]}
        least = min(told.values())
        shares = [math.exp(told.get(self._renderer.label(label), least)) for label in request.labels]
        return Weighed(probabilities=tuple(share / sum(shares) for share in shares), adapter_version=NAME)

    def _asked(self, prompt: Prompt, tokens: int, **how: object) -> dict[str, Any]:
        asked = {
            "prompt": list(self._renderer.render(prompt).ids),
            "n_predict": tokens,
            "temperature": 0,
            "cache_prompt": False,
            **how,
        }
        done: dict[str, Any] = self._server.handle_completions(asked)
        if "choices" not in done:
            raise EngineError(f"llama.cpp did not answer ({done.get('error', done)})")
        return done
