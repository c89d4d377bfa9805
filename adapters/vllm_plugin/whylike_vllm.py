"""A plugin of vLLM, loaded by each of the server's processes: makes LoRA on a CPU right, and faster.

vLLM marks a token that no adapter is for with the index -1. Its operations for the CPU take that for the last of the
adapters' slots, so that the base model's answers are another adapter's as soon as that slot is filled. They also copy
an adapter's weights once for each token. Those below multiply the tokens of each adapter with its weights, and leave
the others alone. On a GPU other operations run, which are right.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from vllm.lora.ops.torch_ops import lora_ops
from vllm.lora.punica_wrapper import punica_cpu


def mend() -> None:
    """Put the operations in the place of vLLM's, whose names and parameters they have."""
    for module in (lora_ops, punica_cpu):
        for operation in (bgmv_shrink, bgmv_expand, bgmv_expand_slice):
            assert hasattr(module, operation.__name__)
            setattr(module, operation.__name__, operation)


def bgmv_shrink(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, slots: torch.Tensor, scaling: float = 1.0
) -> None:
    """Sets `output` [tokens, rank] to `scaling` times the inputs [tokens, in] by the weights [slots, 1, rank, in]."""
    output.zero_()
    for rows, product in _products(inputs, weights, output, slots):
        output[rows, : product.shape[1]] = scaling * product


def bgmv_expand(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, slots: torch.Tensor, add_inputs: bool = True
) -> None:
    """Adds to `output` [tokens, out] the inputs [tokens, rank] by the weights [slots, 1, out, rank]."""
    width = min(weights.shape[-2], output.shape[1])
    bgmv_expand_slice(inputs, weights[..., :width, :], output, slots, 0, width, add_inputs)


def bgmv_expand_slice(  # noqa: PLR0917 - as vLLM has it
    inputs: torch.Tensor,
    weights: torch.Tensor,
    output: torch.Tensor,
    slots: torch.Tensor,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """As `bgmv_expand`, for `slice_size` columns of `output` from `slice_offset` on."""
    columns = output[:, slice_offset : slice_offset + slice_size]
    if not add_inputs:
        columns.zero_()
    for rows, product in _products(inputs, weights, output, slots):
        columns[rows] += product


def _products(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, slots: torch.Tensor
) -> Iterator[tuple[torch.Tensor | slice, torch.Tensor]]:
    """For each adapter that is asked for: the rows of its tokens, and their inputs by its weights."""
    slots = slots[: inputs.shape[0]]
    asked = sorted(set(slots.tolist()))
    for slot in asked:
        if slot >= 0:
            # All tokens are one adapter's most of the time: then nothing is copied.
            rows = slice(len(slots)) if len(asked) == 1 else (slots == slot).nonzero().squeeze(1)
            weight = weights[slot].reshape(weights.shape[-2:]).to(output.dtype)
            yield rows, inputs[rows].to(output.dtype) @ weight.T
