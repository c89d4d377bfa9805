"""Models as OpenVINO graphs: each adapter merged into the base model, traced once, kept in the cache folder.

Merging costs a copy of the weights for each adapter and gives an expert the speed of the bare model; OpenVINO's own way
to mix adapters into a running graph halves it.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset15 as ops
import torch
from filelock import FileLock
from numpy.typing import NDArray
from openvino._offline_transformations import apply_moc_transformations
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.forward import BASE
from whylike.adapters.engines.model import Base, context, quiet
from whylike.adapters.engines.paged import PagedModel
from whylike.adapters.registry.identity import fingerprint
from whylike.errors import EngineError
from whylike.preparing import tell

RECIPE = 1
"""Counts how graphs are made; what another recipe made is made again."""
ALIKE = 0.99
"""Least cosine between the scores of a graph and of the model that it was made from."""
PROBE = (1, 5, 2, 9, 4, 7, 3, 8)
"""Tokens by which the two are compared."""
GRAPH = "graph.xml"
STEPS = 5
"""Of a conversion: load and merge, trace, compress, write, compare."""

Weights = NDArray[np.float32]

log = logging.getLogger(__name__)


class UnfitError(Exception):
    """The base model is of a kind that cannot be made into a graph; the text names it and says why."""


class Graphs:
    """The graphs of one base model and its adapters."""

    def __init__(self, base: Base, cache: Path, *, exact: bool) -> None:
        """`exact`: leave the weights in fp32."""
        self._base = base
        self._cache = cache
        self._exact = exact

    def model(self) -> PagedModel:
        """The model that runs them; the base model is converted now, adapters when they are loaded.

        Raises `UnfitError` where the base model cannot be converted, and `EngineError` where the cache cannot be
        written; loading an adapter that does not fit raises `EngineError`.
        """
        self._folder(None)
        config = self._base.config
        return PagedModel(self._graph, context(config), config.get_text_config().vocab_size)

    def _graph(self, adapter: Adapter | None) -> Path:
        try:
            return self._folder(adapter) / GRAPH
        except UnfitError as error:
            raise EngineError(str(error)) from error

    def _folder(self, adapter: Adapter | None) -> Path:
        """The folder with the graph of an adapter or of the base model, made on the first call.

        Any number of processes may ask at once: one converts and the others wait. It appears whole or not at all.
        """
        folder = self._cache / f"graph-{self._key(adapter)}"
        if folder.is_dir():
            return folder
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            with FileLock(self._cache / f"{folder.name}.lock"):
                if not folder.is_dir():
                    self._convert(adapter, folder)
        except OSError as error:
            raise EngineError(
                f"the model could not be prepared in {self._cache} ({error}); "
                f"free space there or set cache to a folder that can be written"
            ) from error
        return folder

    def _key(self, adapter: Adapter | None) -> str:
        """What a graph is made of: the base model's files, the adapter's, the way of making it.

        Raises `EngineError` where the adapter cannot be read.
        """
        files = [
            (path.name, path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(self._base.folder().iterdir())
            if path.is_file()
        ]
        try:
            content = fingerprint(adapter.folder) if adapter else ""
        except OSError as error:
            raise EngineError(
                f"the adapter {adapter.folder if adapter else ''} does not fit the base model ({error}); "
                "promote one that was trained on it"
            ) from error
        made_of = repr((files, content, self._exact, RECIPE, ov.__version__))
        return hashlib.sha256(made_of.encode()).hexdigest()[:16]

    def _convert(self, adapter: Adapter | None, folder: Path) -> None:
        """Write the graph of an adapter or of the base model to `folder`; the caller holds the lock."""
        what = f"{self._base.named} with {adapter.version}" if adapter else self._base.named
        log.info("converting %s for this CPU, once, to %s", what, folder)
        told = functools.partial(tell, f"preparing {adapter.version if adapter else 'the model'} for this CPU")
        partial = folder.with_name(f"{folder.name}.partial")
        if partial.exists():
            shutil.rmtree(partial)  # of a conversion that was killed: whoever made it no longer holds the lock
        with quiet():
            told(0, STEPS)
            model = self._merged(adapter)
            try:
                told(1, STEPS)
                graph = stateful(traced(model), model)
                told(2, STEPS)
                if not self._exact:
                    compress(graph)
                told(3, STEPS)
                ov.save_model(graph, partial / GRAPH, compress_to_fp16=False)
                told(4, STEPS)
                likeness = _likeness(model, partial / GRAPH)
            except OSError:
                raise
            except Exception as error:  # whatever a tracer may meet in a model that nobody tried
                raise self._unfit(str(error)) from error
            finally:
                told(STEPS, STEPS)
        if likeness < ALIKE:
            raise self._unfit(f"its scores came out otherwise, with a cosine of {likeness:.3f}")
        partial.rename(folder)

    def _merged(self, adapter: Adapter | None) -> PreTrainedModel:
        """The base model in fp32 with the adapter, if any, in its weights."""
        model = self._base.load(torch.float32)
        if adapter:
            from whylike.adapters.engines.lora import Adapters  # noqa: PLC0415 - PEFT takes seconds to import

            adapters = Adapters(model)
            adapters.load(adapter)
            model = adapters.merged()
        return model

    def _unfit(self, reason: str) -> UnfitError:
        first = reason.strip().split("\n", 1)[0]
        return UnfitError(f"the base model {self._base.named!r} cannot be converted for this CPU ({first})")


class _Past(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values as plain tensors that the tracer can follow."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = [keys, values]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.now = [torch.cat([old, new], 2) for old, new in zip(self.now, (key_states, value_states), strict=True)]
        return self.now[0], self.now[1]

    def get_seq_length(self) -> int:
        return self.now[0].shape[2]


class _Step(nn.Module):
    """One call of a model with all that it keeps as inputs and outputs."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, ends: torch.Tensor, *past: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        layers = [_Past(keys, values) for keys, values in zip(past[::2], past[1::2], strict=True)]

        def only_ends(_: nn.Module, args: tuple[torch.Tensor]) -> torch.Tensor:
            # Scores are wanted of each row's last token alone; `ends` counts through all rows.
            return args[0].reshape(-1, args[0].shape[-1])[ends]

        head: nn.Module = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        hook = head.register_forward_pre_hook(only_ends)
        cache = Cache(layers=list(layers))
        try:
            output = self.model(
                input_ids=ids, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True
            )
        finally:
            hook.remove()
        return (output.logits, *(kept for layer in layers for kept in layer.now))


def traced(model: PreTrainedModel) -> ov.Model:
    """The graph of one call: ids, positions, mask, ends and the past in; scores and the longer past out."""
    config = model.config.get_text_config()
    heads = config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rows, new, old = 2, 2, 3  # none is 1: models take short cuts there, which would become part of the graph
    ids = torch.zeros(rows, new, dtype=torch.long)
    past = [torch.zeros(rows, heads, old, size) for _ in range(2 * config.num_hidden_layers)]
    example = (ids, ids, torch.zeros(rows, 1, new, new + old), torch.tensor([1, 3]), *past)
    with torch.inference_mode():
        script = torch.jit.trace(_Step(model).eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
    # What openvino.convert_model does, without its reports to its makers.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(script, example_input=example)
    graph = frontend.convert(frontend.load(decoder))
    # In this form OpenVINO knows what it looks for later.
    apply_moc_transformations(graph, cf=False, smart_reshape=True)
    return graph


def stateful(graph: ov.Model, model: PreTrainedModel) -> ov.Model:
    """The same graph with the past kept inside, in the form in which OpenVINO knows attention over a cache."""
    config = model.config.get_text_config()
    heads = config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    inputs, results = graph.get_parameters(), graph.get_results()
    names = ("input_ids", "position_ids", "attention_mask", "ends")
    shapes = ([-1, -1], [-1, -1], [-1, 1, -1, -1], [-1])
    for parameter, name, shape in zip(inputs, names, shapes, strict=False):
        parameter.set_partial_shape(ov.PartialShape(shape))
        parameter.set_friendly_name(name)
        parameter.output(0).set_names({name})
    rows = ops.parameter([-1], np.int32, name="beam_idx")
    rows.output(0).set_names({"beam_idx"})
    zero = ops.constant(0, np.int32)
    count = ops.gather(ops.shape_of(inputs[0], "i32"), ops.constant([0], np.int32), zero)
    empty = ops.broadcast(
        ops.constant(0.0, np.float32), ops.concat([count, ops.constant([heads, 0, size], np.int32)], 0)
    )
    sinks = []
    for number, (past, present) in enumerate(zip(inputs[len(names) :], results[1:], strict=True)):
        kept = ops.read_value(empty, f"past.{number}", np.float32, ov.PartialShape([-1, heads, -1, size]))
        chosen = ops.gather(kept, rows, zero)
        for target in list(past.output(0).get_target_inputs()):
            target.replace_source_output(chosen.output(0))
        sinks.append(ops.assign(present.input_value(0).get_node(), f"past.{number}"))
    made = ov.Model([results[0]], sinks, [*inputs[: len(names)], rows], "whylike")
    made.validate_nodes_and_infer_types()
    return made


def compress(graph: ov.Model) -> None:
    """Weights to int8 with a scale for each output; those of the vocabulary, which are more easily hurt, to fp16."""
    made: dict[str, ov.Node] = {}
    for node in graph.get_ordered_ops():
        port = {"MatMul": 1, "Gather": 0}.get(node.get_type_name())
        weights = node.input_value(port).get_node() if port is not None else None
        if weights is None or weights.get_type_name() != "Constant" or len(weights.shape) != 2:  # noqa: PLR2004
            continue
        name = weights.get_friendly_name()
        if name not in made:
            vocabulary = any(
                target.get_node().get_type_name() == "Gather" for target in weights.output(0).get_target_inputs()
            )
            by_row = node.get_type_name() == "Gather" or node.get_attributes().get("transpose_b", False)
            made[name] = _half(weights.data) if vocabulary else _int8(weights.data, 1 if by_row else 0)
        node.input(port).replace_source_output(made[name].output(0))


def _half(weights: Weights) -> ov.Node:
    return ops.convert(ops.constant(weights.astype(np.float16)), np.float32)


def _int8(weights: Weights, axis: int) -> ov.Node:
    scales = np.abs(weights).max(axis, keepdims=True) / 127
    scales[scales == 0] = 1
    whole = ops.convert(ops.constant(np.round(weights / scales).astype(np.int8)), np.float32)
    return ops.multiply(whole, ops.constant(scales.astype(np.float32)))


def _likeness(model: PreTrainedModel, graph: Path) -> float:
    """The cosine between the scores of the graph, which is shown some tokens in two parts, and of the model."""
    with torch.inference_mode():
        expected = model(torch.tensor([PROBE])).logits[0, -1].float()
    batch = PagedModel(lambda _: graph, len(PROBE), len(expected)).batch([BASE], [None], 0)
    batch.forward([PROBE[:3]])
    scores = batch.forward([PROBE[3:]])[0]
    return float(nn.functional.cosine_similarity(scores, expected, dim=0))
