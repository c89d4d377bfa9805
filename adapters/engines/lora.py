"""Several LoRA adapters on one base model, each row of a batch answered by its own.

PEFT's own way to mix adapters, `adapter_names=` at each call, hangs a hook on every layer and takes it off again: a
third of a decoding step on a CPU. Here the hooks stay, and a batch of one adapter goes PEFT's faster, unmixed way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel

from whylike.adapters.engines.forward import BASE
from whylike.errors import EngineError


class Adapters:
    """The adapters of one model; says which of them answers for each row of the next calls."""

    def __init__(self, model: PreTrainedModel, folders: Mapping[str, Path]) -> None:
        """Put the adapters of these names and folders, at least one, into `model`; none is merged.

        Raises `EngineError` where one does not fit the model or is more than LoRA weights.
        """
        adapted: PeftModel | None = None
        for name, folder in folders.items():
            adapted = put(adapted or model, name, folder)
        self._layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
        self._rows: list[str] | None = None
        self._active = ""
        for layer in self._layers:
            layer.register_forward_pre_hook(self._name_rows, with_kwargs=True)

    def choose(self, rows: Sequence[str]) -> None:
        """The next calls have these rows; of each the adapter's name, or `BASE`."""
        if len(set(rows)) > 1:
            self._rows = list(rows)
            return
        self._rows = None
        if self._active != rows[0]:
            self._active = rows[0]
            for layer in self._layers:
                layer.set_adapter([] if rows[0] == BASE else [rows[0]], inference_mode=True)

    def _name_rows(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs | {"adapter_names": self._rows}


def put(model: PreTrainedModel | PeftModel, name: str, folder: Path) -> PeftModel:
    """Put the adapter in `folder` into `model`, not merged.

    Raises `EngineError` where it does not fit the model or is more than LoRA weights.
    """
    try:
        # Without the cast PEFT would compute the adapters in fp32.
        if isinstance(model, PeftModel):
            model.load_adapter(folder, name, autocast_adapter_dtype=False)
        else:
            model = PeftModel.from_pretrained(model, folder, name, autocast_adapter_dtype=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise EngineError(
            f"the adapter {folder} does not fit the base model ({reason}); promote one that was trained on it"
        ) from error
    if any(isinstance(module, AuxiliaryTrainingWrapper) for module in model.modules()):
        raise EngineError(f"the adapter {folder} replaces whole modules; train it with LoRA weights only")
    return model
