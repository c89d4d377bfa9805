"""A model computed by transformers and PEFT: the reference, and the path on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from transformers import PreTrainedModel

from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.forward import Prefix
from whylike.adapters.engines.model import context, quiet
from whylike.adapters.engines.slots import Beginning, Slots

if TYPE_CHECKING:
    from whylike.adapters.engines.lora import Adapters


class TorchModel:
    """A loaded model and its adapters, if any."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.adapters: Adapters | None = None
        self.context = context(model.config)
        self.vocabulary: int = model.config.get_text_config().vocab_size

    @property
    def loaded(self) -> frozenset[str]:
        """The versions of the adapters that are in it."""
        return self.adapters.loaded if self.adapters else frozenset()

    def load(self, adapter: Adapter) -> None:
        """Put an adapter in, without merging it. Raises `EngineError` where it does not fit."""
        if self.adapters is None:
            with quiet():
                from whylike.adapters.engines.lora import Adapters  # noqa: PLC0415 - seconds, and it warns
            self.adapters = Adapters(self.model)
        self.adapters.load(adapter)

    def unload(self, version: str) -> None:
        """Take a loaded adapter out."""
        if self.adapters:
            self.adapters.unload(version)

    def batch(self, adapters: Sequence[str], prefixes: Sequence[Prefix | None], room: int) -> TorchBatch:
        """Rows over memory for `room` more tokens each."""
        return TorchBatch(self, adapters, cast(Sequence[Beginning | None], prefixes), room)


class TorchBatch:
    """Rows side by side in slots; new tokens end at the same slot, and what is before them is padding."""

    def __init__(
        self, model: TorchModel, adapters: Sequence[str], prefixes: Sequence[Beginning | None], room: int
    ) -> None:
        self._model = model
        self._adapters = list(adapters)
        self._slots = Slots(model.model, prefixes, room)
        self._lengths = [prefix.tokens if prefix else 0 for prefix in prefixes]
        start = self._slots.used
        self._filled = torch.zeros(len(prefixes), start, dtype=torch.bool)
        for row, length in enumerate(self._lengths):
            self._filled[row, start - length :] = True

    @torch.inference_mode()
    def forward(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Scores for the token after the last: [rows, vocabulary]."""
        width = max(map(len, tokens))
        start, end = self._slots.used, self._slots.used + width
        ids = torch.zeros(len(tokens), width, dtype=torch.long)
        positions = torch.zeros_like(ids)
        new = torch.zeros(len(tokens), width, dtype=torch.bool)
        for row, (own, length) in enumerate(zip(tokens, self._lengths, strict=True)):
            ids[row, width - len(own) :] = torch.tensor(own)
            positions[row, width - len(own) :] = torch.arange(length, length + len(own))
            new[row, width - len(own) :] = True
            self._lengths[row] += len(own)
        self._filled = torch.cat([self._filled, new], 1)
        mask = self._filled[:, None] & (torch.arange(end) <= torch.arange(start, end)[:, None])
        mask[:, range(width), range(start, end)] = (
            True  # also of padding: attention to nothing is not a number on a GPU
        )
        if self._model.adapters:
            self._model.adapters.choose(self._adapters)
        device = self._model.model.device
        # The last position is asked for by its index: for a slice of frozen weights torch copies the whole vocabulary.
        output = self._model.model(
            input_ids=ids.to(device),
            position_ids=positions.to(device),
            attention_mask=mask[:, None].to(device),
            past_key_values=self._slots,
            use_cache=True,
            logits_to_keep=torch.tensor([width - 1]),
        )
        self._slots.used = end
        scores: torch.Tensor = output.logits[:, -1].float().cpu()
        return scores

    def drop(self, row: int) -> None:
        """End a row: the last row takes its place."""
        self._slots.drop(row)
        self._filled[row] = self._filled[-1]
        self._filled = self._filled[:-1]
        self._lengths[row] = self._lengths[-1]
        self._lengths.pop()
        self._adapters[row] = self._adapters[-1]
        self._adapters.pop()

    def first(self) -> Beginning:
        """A copy of the first row, which is alone."""
        return self._slots.first()
