"""What the decoding loop asks of a model, whatever computes it; and the prompt beginnings that are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import torch

from whylike.adapters.engines.base import Adapter

BASE = "__base__"
"""The name of no adapter; PEFT calls it so."""


class Prefix(Protocol):
    """What a model keeps of the beginning of a prompt; it is of use to the model that made it."""

    @property
    def tokens(self) -> int:
        """How many tokens it holds."""
        ...


class Batch(Protocol):
    """Rows that a model works on together. What it holds is given back when it is let go of."""

    def forward(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Go on with these tokens of each row, at least one each.

        Returns scores for the token after the last: [rows, vocabulary], fp32, on the CPU, for the caller to keep.
        """
        ...

    def drop(self, row: int) -> None:
        """End a row: the last row takes its place."""
        ...

    def first(self) -> Prefix:
        """All tokens of the first row so far, as a beginning for others; for use before any other row is dropped."""
        ...


class Model(Protocol):
    """A base model with its adapters, for use by one thread."""

    @property
    def context(self) -> int:
        """Most tokens of a prompt and its answer together."""
        ...

    @property
    def vocabulary(self) -> int:
        """How many scores there are for each next token."""
        ...

    @property
    def loaded(self) -> frozenset[str]:
        """The versions of the adapters that are in it."""
        ...

    def load(self, adapter: Adapter) -> None:
        """Put an adapter in; nothing happens where its version is there.

        Raises `EngineError` where it does not fit; the model is then as before.
        """
        ...

    def unload(self, version: str) -> None:
        """Take a loaded adapter out of memory."""
        ...

    def batch(self, adapters: Sequence[str], prefixes: Sequence[Prefix | None], room: int) -> Batch:
        """Rows that these loaded adapters (or `BASE`) answer and that begin with these beginnings, made by the same.

        `room`: how many tokens the longest row is expected to take beyond its beginning.
        """
        ...


class Prefixes:
    """Beginnings by adapter and ids; together at most `capacity` tokens, of which those used last stay."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], Prefix] = OrderedDict()

    def get(self, adapter: str, ids: tuple[int, ...]) -> Prefix | None:
        """The beginning `ids` as `adapter` computed it, where it is kept."""
        prefix = self._kept.get((adapter, ids))
        if prefix is not None:
            self._kept.move_to_end((adapter, ids))
        return prefix

    def keep(self, adapter: str, ids: tuple[int, ...], prefix: Prefix) -> None:
        """Keep a beginning, and let go of those unused for longest until all fit."""
        self._kept[adapter, ids] = prefix
        self._held += prefix.tokens
        while self._held > self._capacity:
            _, gone = self._kept.popitem(last=False)
            self._held -= gone.tokens

    def forget(self, adapter: str) -> None:
        """Let go of all that `adapter` computed."""
        for key in [key for key in self._kept if key[0] == adapter]:
            self._held -= self._kept.pop(key).tokens
