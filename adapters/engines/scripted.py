"""The scripted engine: answers without a model, the same to the same request, for tests of what uses engines."""

from __future__ import annotations

import hashlib
import math
import random
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from whylike.adapters.engines.base import Adapter, OnText, Prompt, Weighed, Weighing, Writing, Written
from whylike.adapters.engines.text import Text
from whylike.errors import EngineError
from whylike.records import Expert

Texts = Callable[[Writing], str] | Sequence[str]
"""What an expert writes: worked out from the request, or the next of these."""
Weights = Callable[[Weighing], Sequence[float]]
"""How likely an expert finds each label; any scale, as long as the sum is above zero."""

TOKEN = re.compile(r"\s?\w+|.", re.DOTALL)
"""A token of this engine: a word with the space before it, or a single other character."""
LABEL = re.compile(r"\s?[^\W\d]+|.", re.DOTALL)
"""A label that is one token of it: letters with the space before them, or a single other character."""
END = 256
"""To the grammars the tokens are the bytes; this one ends a text."""
SEPARATORS, LETTERS = frozenset(b' ,.;\n"'), frozenset(b"abcdefghijklmnopqrstuvwxyz")
LONGEST = 16
"""Bytes a token at which a text that finds no end is cut."""


class _Bytes:
    """The bytes as a tokenizer, in the form that llguidance wants."""

    eos_token_id = END
    bos_token_id = None
    tokens = (*(bytes([value]) for value in range(END)), b"<end>")
    special_token_ids = (END,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


class ScriptedEngine:
    """Answers by rules, or by a hash of the request: text that matches the grammar, out of words of the prompt.

    A rule for text is a function of the request, or a list of texts of which each request takes the next. The hash
    leaves out what a model would not mind: `max_tokens`, `stop`, and `seed` where nothing is sampled.

    Example:
        >>> engine = ScriptedEngine({Expert.REASONER: ["The user loves slow stories."]})
    """

    def __init__(
        self,
        texts: Mapping[Expert, Texts] | None = None,
        weights: Mapping[Expert, Weights] | None = None,
        *,
        adapters: Mapping[Expert, Adapter] | None = None,
        fail_on: Collection[int] = (),
    ) -> None:
        """Rules by expert; experts without one answer by hash.

        `adapters`: they sign the answers, and their versions change those that go by hash. `fail_on`: the calls that
        fail, counted from 1.
        """
        self._adapters = dict(adapters or {})
        self._texts = {expert: rule if callable(rule) else iter(rule) for expert, rule in (texts or {}).items()}
        self._weights = dict(weights or {})
        self._fail_on = frozenset(fail_on)
        self._calls = 0
        self._closed = False
        self._lock = threading.RLock()
        self._tokenizer = LLTokenizer(TokenizerWrapper(_Bytes()))
        self.history: list[Writing | Weighing] = []
        """Every request, in the order in which they came."""

    @property
    def name(self) -> str:
        """`scripted`."""
        return "scripted"

    def adapter_version(self, expert: Expert) -> str:
        """The version of the expert's adapter, or `base:scripted` where it has none."""
        adapter = self._adapters.get(expert)
        return adapter.version if adapter else "base:scripted"

    def adopt(self, adapters: Mapping[Expert, Adapter]) -> None:
        """Sign with these versions from the next call on.

        Raises `EngineError` where a folder holds no adapter, and on a closed engine.
        """
        for adapter in adapters.values():
            if not (adapter.folder / "adapter_config.json").is_file():
                raise EngineError(f"{adapter.folder} holds no adapter; promote one that `whylike adapters list` shows")
        with self._lock:
            if self._closed:
                raise EngineError("the engine is closed; open a new one")
            self._adapters = dict(adapters)

    def write(self, requests: Sequence[Writing]) -> list[Written]:
        """One text for each request, in order.

        Raises `EngineError` on a call that is to fail, for a grammar that does not compile, for a text of a rule that
        does not match the grammar, and where a rule has no text left.
        """
        with self._call(requests):
            return [self._written(request, None) for request in requests]

    def stream(self, request: Writing, on_text: OnText) -> Written:
        """As `write` for one request, telling `on_text` each token. Raises `EngineError` as `write` does."""
        with self._call([request]):
            return self._written(request, on_text)

    def weigh(self, requests: Sequence[Weighing]) -> list[Weighed]:
        """The label probabilities for each request, in order.

        Raises `EngineError` on a call that is to fail, and for a label that is not one token.
        """
        with self._call(requests):
            return [self._weighed(request) for request in requests]

    def close(self) -> None:
        """Refuse requests from now on."""
        self._closed = True

    @contextmanager
    def _call(self, requests: Sequence[Writing] | Sequence[Weighing]) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise EngineError("the engine is closed; open a new one")
            self._calls += 1
            self.history += requests
            if self._calls in self._fail_on:
                raise EngineError(f"the scripted engine was told to fail on call {self._calls}")
            yield

    def _written(self, request: Writing, on_text: OnText | None) -> Written:
        version = self.adapter_version(request.expert)  # before `on_text` may change it
        whole, complete = self._whole(request)
        text = Text(request.stop)
        tokens = TOKEN.findall(whole)[: request.max_tokens]
        complete = complete and len("".join(tokens)) == len(whole)
        written, stopped = 0, False
        for token in tokens:
            written += 1
            stopped = text.add(token.encode())
            if on_text and (piece := text.news(final=stopped or written == len(tokens))):
                on_text(piece)
            if stopped:
                break
        return Written(
            text=text.text,
            adapter_version=version,
            finish="stop" if stopped or complete else "length",
            prompt_tokens=len(TOKEN.findall("".join(_contents(request.prompt)))),
            tokens=written,
        )

    def _whole(self, request: Writing) -> tuple[str, bool]:
        """The text without regard to length and stop strings, and whether it comes to an end."""
        matcher = None
        if request.grammar is not None:
            matcher = LLMatcher(self._tokenizer, request.grammar, log_level=0)
            if matcher.is_error():
                raise EngineError(f"the grammar does not compile: {matcher.get_error().strip().splitlines()[0]}")
        rule = self._texts.get(request.expert)
        if rule is None:
            sampled = (request.temperature, request.seed) if request.temperature else ()
            chance = self._chance(request, request.grammar, *sampled)
            words = re.findall(r"[^\W\d_]{4,}", request.prompt.messages[-1].content) or ["something"]
            return (
                _sentences(words, chance) if matcher is None else _matching(matcher, words, chance, request.max_tokens)
            )
        text = rule(request) if callable(rule) else next(rule, None)
        if text is None:
            raise EngineError(f"the scripted engine has no text left for the {request.expert}; give it more")
        if matcher and not (matcher.consume_tokens(list(text.encode())) and matcher.is_accepting()):
            raise EngineError(
                f"the scripted text {text!r} does not match the grammar of the {request.expert}'s request"
            )
        return text, True

    def _weighed(self, request: Weighing) -> Weighed:
        for label in request.labels:
            if not LABEL.fullmatch(label):
                raise EngineError(f"label {label!r} is {len(label)} tokens and must be one; use a digit or a letter")
        rule = self._weights.get(request.expert)
        if rule is None:
            weights = [math.exp(self._chance(request, label).gauss(0, 1.5)) for label in request.labels]
        else:
            weights = list(rule(request))
        total = math.fsum(weights)
        return Weighed(
            probabilities=tuple(weight / total for weight in weights),
            adapter_version=self.adapter_version(request.expert),
        )

    def _chance(self, request: Writing | Weighing, *parts: object) -> random.Random:
        """A generator that is the same for the same request, its expert's adapter and other parts, on every machine."""
        adapter = self._adapters.get(request.expert)
        told = (request.expert, request.prompt, *parts, *([adapter.version] if adapter else []))
        return random.Random(hashlib.sha256(repr(told).encode()).digest())  # noqa: S311 - for variety, not for secrets


def _contents(prompt: Prompt) -> list[str]:
    return [*(message.content for message in prompt.messages), prompt.prefill]


def _sentences(words: list[str], chance: random.Random) -> tuple[str, bool]:
    """A few sentences about some of the words."""
    pairs = [(chance.choice(words).lower(), chance.choice(words).lower()) for _ in range(3)]
    return " ".join(f"The user would like the {one} and cares about the {other}." for one, other in pairs), True


def _matching(matcher: LLMatcher, words: list[str], chance: random.Random, max_tokens: int) -> tuple[str, bool]:
    """A walk along the grammar that takes words where they fit, and whether it reached an end."""
    text = bytearray()
    while len(text) < LONGEST * max_tokens and not matcher.is_stopped():
        if text and matcher.is_accepting() and chance.choice((True, False)):
            break
        inside = text[-1:].isalnum()
        step = chance.choice(words).lower().encode()
        if inside or matcher.validate_tokens(list(step)) < len(step):
            bias = matcher.compute_logit_bias()
            allowed = [value for value in range(END) if bias[value]]
            likely = [value for value in allowed if value in (SEPARATORS if inside else LETTERS)]
            step = bytes([chance.choice(likely or allowed)])
        matcher.consume_tokens(list(step))
        text += step
    complete = matcher.is_accepting() or matcher.is_stopped()
    return text.decode(errors="replace"), complete
