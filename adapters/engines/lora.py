"""Several LoRA adapters on one base model, each row of a batch answered by its own.

PEFT's own way to mix adapters, `adapter_names=` at each call, hangs a hook on every layer and takes it off again: a
third of a decoding step on a CPU. Here the hooks stay, and a batch of one adapter goes PEFT's faster, unmixed way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peft import PeftConfig, PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel

from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.forward import BASE
from whylike.adapters.engines.model import quiet
from whylike.errors import EngineError


class Adapters:
    """The adapters of one model by version; says which of them answers for each row of the next calls."""

    def __init__(self, model: PreTrainedModel) -> None:
        """None is loaded yet, and the model is left as it is."""
        self._model = model
        self._adapted: PeftModel | None = None
        self._layers: dict[LoraLayer, Any] = {}
        """The model's LoRA layers, each with its hook."""
        self._rows: list[str] | None = None
        self._active: str | None = None

    @property
    def loaded(self) -> frozenset[str]:
        """The versions in the model."""
        return frozenset(self._adapted.peft_config) if self._adapted else frozenset()

    def load(self, adapter: Adapter) -> None:
        """Put an adapter into the model, without merging it; nothing happens where its version is there.

        Raises `EngineError` where it does not fit the model or is more than LoRA weights; the model is then as before.
        """
        if adapter.version in self.loaded:
            return
        try:
            with quiet():
                self._put(adapter)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            self._take_out(adapter.version)
            reason = str(error).strip().split("\n", 1)[0]
            raise EngineError(
                f"the adapter {adapter.folder} does not fit the base model ({reason}); "
                "promote one that was trained on it"
            ) from error
        finally:
            self._look_at_layers()

    def unload(self, version: str) -> None:
        """Take an adapter out of the model."""
        self._take_out(version)
        self._look_at_layers()

    def merged(self) -> PreTrainedModel:
        """The model with the one adapter that is loaded in its weights."""
        assert self._adapted is not None
        merged: PreTrainedModel = self._adapted.merge_and_unload()
        return merged

    def choose(self, rows: Sequence[str]) -> None:
        """The next calls have these rows; of each the version of its adapter, or `BASE`."""
        if len(set(rows)) > 1:
            self._rows = list(rows)
            return
        self._rows = None
        if self._active != rows[0]:
            self._active = rows[0]
            for layer in self._layers:
                layer.set_adapter([] if rows[0] == BASE else [rows[0]], inference_mode=True)

    def _put(self, adapter: Adapter) -> None:
        config = PeftConfig.from_pretrained(str(adapter.folder))
        config.inference_mode = True
        if getattr(config, "modules_to_save", None) or getattr(config, "trainable_token_indices", None):
            raise ValueError("it replaces whole modules or tokens, and LoRA weights are all that is taken")
        # Without the cast PEFT would compute the adapters in fp32.
        if self._adapted is None:
            self._adapted = PeftModel(self._model, config, adapter.version, autocast_adapter_dtype=False)
        else:
            self._adapted.add_adapter(adapter.version, config, autocast_adapter_dtype=False)
        read = self._adapted.load_adapter(
            str(adapter.folder),
            adapter.version,
            torch_device=str(self._model.device),
            autocast_adapter_dtype=False,
        )
        # PEFT would leave out what it has no place for, and begin at random what is not there.
        for problem, names in (("has no place for", read.unexpected_keys), ("misses", read.missing_keys)):
            if names:
                raise ValueError(f"the base model {problem} {names[0]}")

    def _take_out(self, version: str) -> None:
        """Remove all that is there of an adapter; with the last one the model is what it was before the first."""
        # PEFT's own ways know nothing of an adapter that failed halfway: what is in the layers is taken out here.
        layers = {name: module for name, module in self._model.named_modules() if isinstance(module, LoraLayer)}
        if self._adapted is not None and not self.loaded <= {version}:
            with quiet():
                if version in self.loaded:
                    self._adapted.delete_adapter(version)
                for layer in layers.values():
                    layer.delete_adapter(version)
            return
        self._adapted = None
        for name, layer in layers.items():
            self._model.set_submodule(name, layer.get_base_layer())
        if hasattr(self._model, "peft_config"):
            del self._model.peft_config

    def _look_at_layers(self) -> None:
        """Find the LoRA layers anew and hang the hook on those that came."""
        found = [module for module in self._model.modules() if isinstance(module, LoraLayer)]
        known = self._layers
        self._layers = {
            layer: known.get(layer) or layer.register_forward_pre_hook(self._name_rows, with_kwargs=True)
            for layer in found
        }
        self._active = None  # PEFT changes what is active as adapters come and go

    def _name_rows(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs | {"adapter_names": self._rows}
