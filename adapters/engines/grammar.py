"""Grammars: which tokens may come next, so that a text matches its Lark grammar (llguidance's dialect).

Compiling a grammar takes milliseconds to seconds and a copy of a compiled one microseconds, so compiled ones are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import llguidance.hf
import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from transformers import PreTrainedTokenizerFast

from whylike.errors import EngineError

KEPT = 64
"""Most compiled grammars that are kept; the one unused for longest goes first."""


class Guide:
    """Leads one text along its grammar."""

    def __init__(self, matcher: LLMatcher, vocabulary: int) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._bits = np.zeros((vocabulary + 31) // 32, dtype=np.int32)

    def mask(self, scores: torch.Tensor) -> None:
        """Set to minus infinity, in place, the scores (on the CPU, one per token) of tokens that may not come next.

        Raises `EngineError` where the grammar has become too complex to follow.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        allowed = np.unpackbits(self._bits.view(np.uint8), count=self._vocabulary, bitorder="little")
        if not allowed.any():
            raise EngineError("the grammar leaves no token of the base model that could come next")
        scores.masked_fill_(torch.from_numpy(allowed) == 0, float("-inf"))

    def accept(self, token: int) -> None:
        """Go on behind `token`, which `mask` allowed."""
        self._matcher.consume_token(token)
        self._check()

    def forced(self) -> list[int]:
        """The tokens that must come next whatever the model says, often none; they are yet to be accepted."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        return tokens

    @property
    def finished(self) -> bool:
        """Whether the text is complete and can only end here."""
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise EngineError(f"the grammar could not be followed: {_first_line(self._matcher.get_error())}")


class Grammars:
    """Compiles grammars for one tokenizer and keeps the compiled ones."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocabulary: int, ends: Sequence[int]) -> None:
        """`vocabulary`: how many scores the model gives; `ends`: the ids of the tokens that end a text."""
        self.tokenizer: LLTokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(ends))
        self._vocabulary = vocabulary
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()

    def guide(self, grammar: str) -> Guide:
        """A guide at the beginning of `grammar`. Raises `EngineError` with the reason where it does not compile."""
        matcher = self._compiled.get(grammar)
        if matcher is None:
            matcher = LLMatcher(self.tokenizer, grammar, log_level=0)
            if matcher.is_error():
                raise EngineError(f"the grammar does not compile: {_first_line(matcher.get_error())}")
            self._compiled[grammar] = matcher
            if len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(grammar)
        return Guide(matcher.deep_copy(), self._vocabulary)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
