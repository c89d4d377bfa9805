"""trl's trainer, with the loss of a CPU computed where an answer stands and nowhere else."""

from __future__ import annotations

from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from torch.nn import functional
from trl.trainer.sft_trainer import SFTTrainer

from whylike.adapters.engines.model import computed_in
from whylike.adapters.training.examples import IGNORED


class AnswerTrainer(SFTTrainer):
    """Trains on the tokens that have a label.

    On a GPU all is left to trl. On a CPU its loss weighs the whole vocabulary at every token of the prompt too, only to
    throw that away: here the output layer runs where a row of the batch has a label. There the adapter's weights, which
    learn in fp32, also take part in bf16 if the base's do, where PEFT would turn every activation into fp32 for them.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:  # noqa: ANN401
        """The sum of the labels' negative log-likelihoods, divided by the step's number of labels.

        Times the number of processes that train together, over which gradients are averaged.
        """
        if inputs["input_ids"].device.type != "cpu":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        labels = inputs["labels"][:, 1:]
        wanted = (labels != IGNORED).any(0).nonzero().squeeze(1)
        given = {name: value for name, value in inputs.items() if name != "labels"}
        half = computed_in(inputs["input_ids"].device) is torch.bfloat16
        with disable_input_dtype_casting(model), torch.autocast("cpu", torch.bfloat16, enabled=half):
            outputs = model(**given, logits_to_keep=wanted)
        labels = labels[:, wanted]
        total = functional.cross_entropy(
            outputs.logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        if num_items_in_batch is None:
            loss = total / (labels != IGNORED).sum()
        else:
            loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _send_telemetry(self) -> None:
        """Nobody is told that somebody trains."""
