"""The keys and values of a batch in memory set aside once, and those of shared prompt beginnings, kept for later.

transformers' own cache copies all of itself at every token; with 8 rows of 800 tokens on two cores that is a fifth of
the time. Here a step writes one slot a row, and a finished row's place is taken by the last row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a model keeps of a beginning of some tokens: keys and values, each [layers, heads, tokens, size]."""

    keys: torch.Tensor
    values: torch.Tensor

    @property
    def tokens(self) -> int:
        """How many tokens it holds."""
        return self.keys.shape[2]


class Slots(Cache):
    """A transformers cache for a batch: `capacity` slots a row, of which the first `used` are filled.

    A row begins with its prefix, if any, moved right so that all prefixes end at the same slot; slots before it hold
    zeros and are never attended to.
    """

    def __init__(self, model: PreTrainedModel, prefixes: Sequence[Beginning | None], more: int) -> None:
        """Room for the longest prefix and `more` slots a row."""
        config = model.config.get_text_config()
        heads = config.num_key_value_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.rows = len(prefixes)
        self.used = max((prefix.tokens for prefix in prefixes if prefix), default=0)
        self.capacity = self.used + more
        shape = (config.num_hidden_layers, self.rows, heads, self.capacity, size)
        self._keys = torch.empty(shape, dtype=model.dtype, device=model.device)
        self._values = torch.empty_like(self._keys)
        for row, prefix in enumerate(prefixes):
            begin = self.used - (prefix.tokens if prefix else 0)
            # Zeros, since what is masked is still multiplied, by 0, and may not be infinite.
            self._keys[:, row, :, :begin], self._values[:, row, :, :begin] = 0, 0
            if prefix:
                span = slice(begin, self.used)
                self._keys[:, row, :, span], self._values[:, row, :, span] = prefix.keys, prefix.values
        super().__init__(layers=[_Layer(self, index) for index in range(config.num_hidden_layers)])

    def put(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fill the next slots of `layer` ([rows, heads, new, size]); all its filled slots, without a copy.

        Every layer of one step writes to the same slots: `used` moves on when the caller says so.
        """
        end = self.used + keys.shape[2]
        if end > self.capacity:
            self._grow(end)
        self._keys[layer, : self.rows, :, self.used : end] = keys
        self._values[layer, : self.rows, :, self.used : end] = values
        return self._keys[layer, : self.rows, :, :end], self._values[layer, : self.rows, :, :end]

    def _grow(self, needed: int) -> None:
        """Room for at least `needed` slots: rows that take several tokens at once leave gaps in the others."""
        more = max(needed, self.capacity + self.capacity // 2) - self.capacity
        self._keys, self._values = (nn.functional.pad(kept, (0, 0, 0, more)) for kept in (self._keys, self._values))
        self.capacity += more

    def drop(self, row: int) -> None:
        """End a row: the last row takes its place."""
        self.rows -= 1
        for kept in (self._keys, self._values):
            kept[:, row, :, : self.used] = kept[:, self.rows, :, : self.used]

    def first(self) -> Beginning:
        """A copy of the first row."""
        return Beginning(self._keys[:, 0, :, : self.used].clone(), self._values[:, 0, :, : self.used].clone())


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's view of the slots."""

    def __init__(self, slots: Slots, index: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._slots = slots
        self._index = index
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self._slots.put(self._index, key_states, value_states)

    def get_seq_length(self) -> int:
        return self._slots.used
