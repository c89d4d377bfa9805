"""A model computed by OpenVINO on a CPU, its keys and values in blocks of memory that rows share.

Rows lie one behind the other without padding, so that what a row answers has nothing to do with the others' lengths.
A row's beginning is not copied: its full blocks belong to all rows that begin so.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import openvino as ov
import torch
from openvino._offline_transformations import paged_attention_transformation

from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.forward import BASE, Prefix

BLOCK = 32
"""Tokens of a block: what OpenVINO's attention takes on a CPU."""
FIRST = 64
"""Blocks that are set aside at first; more are when they are needed."""
SETTINGS = {
    # Beside `whylike bench parity`: bf16 moves a label's log-odds with the company that a request has, by 0.1 and more.
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    # int8 weights are multiplied with each token's own values in int8, 64 to a scale. Whole numbers add up the same
    # whatever else is in the batch; prompts are read twice as fast, and answers are off by hardly more than without.
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "64",
    # A thread that is bound to a core waits there beside whatever else runs on it.
    "ENABLE_CPU_PINNING": "NO",
}


class Block:
    """A place in the memory for keys and values; free again when nobody holds it."""

    __slots__ = ("__weakref__", "index")

    def __init__(self, index: int) -> None:
        self.index = index


@dataclass(frozen=True, slots=True)
class Paged:
    """The blocks of a beginning; the last may have room left."""

    tokens: int
    blocks: tuple[Block, ...]


@dataclass(slots=True)
class _Row:
    adapter: str
    tokens: int
    blocks: list[Block]


class Memory:
    """Keys and values of all rows of all adapters: for each input of a graph that holds them, a tensor of blocks."""

    def __init__(self) -> None:
        self.size = 0
        self.tensors: dict[str, ov.Tensor] = {}
        self._free: list[int] = []

    def lay_out(self, graph: ov.CompiledModel) -> None:
        """Take the form that the graph wants; graphs of one base model want the same."""
        if self.tensors:
            return
        for port in graph.inputs:
            if "cache" in port.any_name:
                shape = [length.get_length() for length in list(port.partial_shape)[1:]]
                self.tensors[port.any_name] = ov.Tensor(port.element_type, ov.Shape([0, *shape]))

    def take(self) -> Block:
        """A block; the memory grows where none is free."""
        if not self._free:
            self._grow()
        block = Block(self._free.pop())
        weakref.finalize(block, self._free.append, block.index).atexit = False
        return block

    def copy(self, block: Block) -> Block:
        """A block with the same content."""
        other = self.take()
        for tensor in self.tensors.values():
            tensor.data[other.index] = tensor.data[block.index]
        return other

    def _grow(self) -> None:
        size = max(FIRST, self.size + self.size // 2)
        for name, tensor in self.tensors.items():
            larger = ov.Tensor(tensor.element_type, ov.Shape([size, *list(tensor.shape)[1:]]))
            larger.data[: self.size] = tensor.data
            # What no token was written to is multiplied by 0 and may not be infinite.
            larger.data[self.size :] = 0
            self.tensors[name] = larger
        self._free += range(self.size, size)
        self.size = size


class PagedModel:
    """The graphs of a base model and its adapters, over one memory."""

    def __init__(self, graph: Callable[[Adapter | None], Path], context: int, vocabulary: int) -> None:
        """`graph`: where the graph of an adapter, or of the base model, is; asked for when it is first needed."""
        self.context = context
        self.vocabulary = vocabulary
        self.memory = Memory()
        self._graph = graph
        self._core = ov.Core()
        self._requests: dict[str, ov.InferRequest] = {}

    @property
    def loaded(self) -> frozenset[str]:
        """The versions of the adapters that are in it."""
        return frozenset(self._requests) - {BASE}

    def load(self, adapter: Adapter) -> None:
        """Have the graph of an adapter ready. Raises `EngineError` where it does not fit the base model."""
        if adapter.version not in self._requests:
            self._requests[adapter.version] = self._ready(self._graph(adapter))

    def unload(self, version: str) -> None:
        """Take the graph of a loaded adapter out of memory."""
        del self._requests[version]

    def batch(self, adapters: Sequence[str], prefixes: Sequence[Prefix | None], room: int) -> PagedBatch:
        """Rows that take memory as they go on: `room` is not needed."""
        if BASE in adapters and BASE not in self._requests:
            self._requests[BASE] = self._ready(self._graph(None))
        return PagedBatch(self, adapters, cast(Sequence[Paged | None], prefixes))

    def request(self, adapter: str) -> ov.InferRequest:
        """What runs the graph of a loaded `adapter`, or of `BASE`."""
        return self._requests[adapter]

    def _ready(self, graph: Path) -> ov.InferRequest:
        model = self._core.read_model(graph)
        paged_attention_transformation(model)
        compiled = self._core.compile_model(model, "CPU", SETTINGS)
        self.memory.lay_out(compiled)
        return compiled.create_infer_request()


class PagedBatch:
    """Rows, each with blocks of its own and blocks that it shares."""

    def __init__(self, model: PagedModel, adapters: Sequence[str], prefixes: Sequence[Paged | None]) -> None:
        self._model = model
        self._rows = [
            _Row(adapter, prefix.tokens if prefix else 0, list(prefix.blocks) if prefix else [])
            for adapter, prefix in zip(adapters, prefixes, strict=True)
        ]
        for row in self._rows:
            if row.tokens % BLOCK:
                row.blocks[-1] = model.memory.copy(row.blocks[-1])

    def forward(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Scores for the token after the last: [rows, vocabulary]. Rows of one adapter are computed together."""
        scores = torch.empty(len(tokens), self._model.vocabulary)
        for adapter in dict.fromkeys(row.adapter for row in self._rows):
            chosen = [index for index, row in enumerate(self._rows) if row.adapter == adapter]
            scores[chosen] = self._infer(adapter, [self._rows[index] for index in chosen], [tokens[i] for i in chosen])
        return scores

    def drop(self, row: int) -> None:
        """End a row: the last row takes its place."""
        self._rows[row] = self._rows[-1]
        self._rows.pop()

    def first(self) -> Paged:
        """All blocks of the first row."""
        return Paged(self._rows[0].tokens, tuple(self._rows[0].blocks))

    def _infer(self, adapter: str, rows: list[_Row], tokens: list[Sequence[int]]) -> torch.Tensor:
        memory = self._model.memory
        past = [row.tokens for row in rows]
        for row, new in zip(rows, tokens, strict=True):
            row.tokens += len(new)
            row.blocks += [memory.take() for _ in range(len(row.blocks), -(-row.tokens // BLOCK))]
        begins = np.cumsum([0, *map(len, tokens)], dtype=np.int32)
        request = self._model.request(adapter)
        request.infer(
            {
                "input_ids": np.concatenate([np.array(new, np.int64) for new in tokens]),
                "position_ids": np.concatenate(
                    [np.arange(old, row.tokens, dtype=np.int64) for old, row in zip(past, rows, strict=True)]
                ),
                "ends": begins[1:].astype(np.int64) - 1,
                "max_context_len": np.array(max(row.tokens for row in rows), np.int32),
                "past_lens": np.array(past, np.int32),
                "subsequence_begins": begins,
                "block_indices": np.array([block.index for row in rows for block in row.blocks], np.int32),
                "block_indices_begins": np.cumsum([0, *(len(row.blocks) for row in rows)], dtype=np.int32),
                **memory.tensors,
            },
            share_inputs=True,
        )
        return torch.from_numpy(request.get_output_tensor().data.copy())
