"""What is refused before any engine sees it: folders that are not plain LoRA adapters of the base model.

An adapter comes from anywhere, so nothing of it is trusted, and nothing in it is run: names first, then the
configuration, then the weights, then whether they fit.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whylike.adapters.registry.identity import CARD, CONFIG, WEIGHTS
from whylike.errors import EngineError, InputError
from whylike.settings import PACKAGED_MODEL, Settings

KNOWN = frozenset({CONFIG, WEIGHTS, CARD, "README.md"})
"""All that may be in an adapter's folder. PEFT writes the last, which is left behind."""
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
"""Files of these kinds can run code when they are loaded."""
LARGEST_CONFIG = 1 << 20
"""Bytes."""
LARGEST_SCALE = 1e6

SERVED = (
    "r",
    "lora_alpha",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
)
"""What a configuration may say; this is kept of it, and all else is left out."""
OF_TRAINING = frozenset(
    {
        "peft_type",
        "task_type",
        "bias",
        "fan_in_fan_out",
        "init_lora_weights",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "lora_dropout",
        "megatron_core",
        "qalora_group_size",
        "ensure_weight_tying",
    }
)
"""What says nothing about the answers, or is looked at on its own."""
PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Starts of training (`init_lora_weights`) that leave the base model's weights as they are."""
DTYPES = frozenset({"F32", "F16", "BF16"})

Shapes = dict[str, tuple[int, ...]]
"""Of each tensor."""


class _Refused(Exception):  # noqa: N818 - it becomes an InputError that names the folder
    """What is wrong, and how to mend it."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem, mend)
        self.problem, self.mend = problem, mend


def refusal(source: Path, problem: str, mend: str) -> InputError:
    """The sentence for an adapter that is not taken."""
    return InputError(f"the adapter {source} {problem}; {mend}")


def check_names(source: Path) -> None:
    """Refuse a folder that is not there, lacks a file, or holds more than an adapter. Raises `InputError`."""
    try:
        _check_names(source)
    except _Refused as error:
        raise refusal(source, error.problem, error.mend) from None
    except OSError as error:
        raise refusal(source, f"cannot be read ({error.strerror})", "give a folder that can be read") from None


def check_contents(folder: Path, source: Path, settings: Settings) -> dict[str, Any]:
    """Refuse a copy of an adapter that is damaged, does not fit the base model or cannot be served by every engine.

    Args:
        folder: The copy, which nobody else changes.
        source: Where it came from, for errors.
        settings: They name the base model and the highest rank.

    Returns:
        The adapter's configuration, reduced to what matters and in one order, so that equal adapters have equal hashes.

    Raises:
        InputError: It is not taken.
        EngineError: The base model is not here to compare with.
    """
    try:
        config = _config(folder / CONFIG, settings.max_rank)
        shapes = _shapes(folder / WEIGHTS)
        _check_fit(config, shapes, settings)
        _check_numbers(folder / WEIGHTS)
    except _Refused as error:
        raise refusal(source, error.problem, error.mend) from None
    return config


def highest_rank(config: Mapping[str, Any]) -> int:
    """The highest rank that a configuration gives a module."""
    ranks: list[int] = [config["r"], *config["rank_pattern"].values()]
    return max(ranks)


def _check_names(source: Path) -> None:
    whole = "give a folder with adapter_config.json and adapter_model.safetensors, as PEFT's save_pretrained writes it"
    if not source.is_dir():
        raise _Refused("is not a folder", whole)
    here = source.resolve()
    for entry in sorted(source.rglob("*")):
        name = entry.relative_to(source).as_posix()
        if entry.is_symlink() and not entry.resolve().is_relative_to(here):
            raise _Refused(f"has a link that leads out of it ({name})", "put the file itself in its place")
        if entry.suffix.lower() in PICKLES:
            raise _Refused(
                f"holds {name}, which can run code when it is loaded", "save it as safetensors and remove it"
            )
        if name not in KNOWN:
            raise _Refused(f"holds {name}, which is no part of an adapter", f"remove it; {_allowed()}")
        if not stat.S_ISREG(entry.stat().st_mode):
            raise _Refused(f"holds {name}, which is not a plain file", f"remove it; {_allowed()}")
    for name in (CONFIG, WEIGHTS):
        if not (source / name).is_file():
            raise _Refused(f"has no {name}", whole)
        (source / name).open("rb").close()  # whether it can be read


def _allowed() -> str:
    return f"allowed are {', '.join(sorted(KNOWN))}"


def _config(path: Path, limit: int) -> dict[str, Any]:
    """The configuration, reduced."""
    again = "save it again with PEFT's save_pretrained"
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError("it is too large")
        told = json.loads(path.read_bytes())
        if not isinstance(told, dict):
            raise ValueError("it is not an object")
        ranks, scales = told.get("rank_pattern") or {}, told.get("alpha_pattern") or {}
        if not isinstance(ranks, dict) or not isinstance(scales, dict):
            raise ValueError("rank_pattern and alpha_pattern must be objects")
    except (ValueError, RecursionError) as error:
        raise _Refused(f"has a damaged {CONFIG} ({error})", again) from None
    _check_options(told)
    for rank in (told.get("r"), *ranks.values()):
        if type(rank) is not int or rank < 1:
            raise _Refused(f"has the rank {rank!r}, which is not a whole number above 0", again)
        if rank > limit:
            raise _Refused(
                f"has the rank {rank}, and at most {limit} is allowed", "train a smaller one or set max_rank"
            )
    for scale in (told.get("lora_alpha"), *scales.values()):
        if type(scale) not in (int, float) or not 0 < scale < LARGEST_SCALE:
            raise _Refused(f"has the scale {scale!r} (lora_alpha), which is not a number above 0", again)
    config = {key: told.get(key) for key in SERVED}
    targets = config["target_modules"]
    config["target_modules"] = sorted(targets) if isinstance(targets, list) and _strings(targets) else targets
    config |= {"rank_pattern": ranks, "alpha_pattern": scales, "use_rslora": bool(told.get("use_rslora"))}
    return {"peft_type": "LORA", "task_type": "CAUSAL_LM", "inference_mode": True, "bias": "none", **config}


def _check_options(told: Mapping[str, Any]) -> None:
    """Refuse what is not plain LoRA."""
    if told.get("peft_type") != "LORA":
        raise _Refused(f"is of type {told.get('peft_type')!r}, not LORA", "train it with LoRA")
    if told.get("task_type") not in (None, "CAUSAL_LM"):
        raise _Refused(f"is for the task {told['task_type']!r}", "train it for CAUSAL_LM")
    plain = "train it as plain LoRA without that"
    if told.get("bias", "none") != "none":
        raise _Refused(f"trains biases (bias = {told['bias']!r}), which not every engine can serve", plain)
    start = told.get("init_lora_weights")
    if start not in PLAIN_STARTS:
        raise _Refused(f"was begun by changing the base model (init_lora_weights = {start!r})", plain)
    for key, value in told.items():
        if value and key not in SERVED and key not in OF_TRAINING:
            raise _Refused(f"uses {key}, which not every engine can serve", plain)


def _strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _shapes(path: Path) -> Shapes:
    """The shapes of the tensors, from the file's head."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - as below

    with path.open("rb") as file:
        begin = file.read(9)
    if begin.startswith(b"PK\3\4") or (begin.startswith(b"\x80") and begin[8:] != b"{"):
        raise _Refused(
            f"has a {WEIGHTS} that is really a pickle, which can run code when it is loaded", "save it as safetensors"
        )
    shapes: Shapes = {}
    try:
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a mapping
                part = weights.get_slice(name)
                if part.get_dtype() not in DTYPES:
                    raise _Refused(
                        f"has weights of the type {part.get_dtype()} ({name})",
                        f"save it as {', '.join(sorted(DTYPES))}",
                    )
                shapes[name] = tuple(part.get_shape())
    except SafetensorError as error:
        raise _Refused(f"has a damaged {WEIGHTS} ({_first_line(error)})", "copy or save it again") from None
    return shapes


def _check_fit(config: dict[str, Any], shapes: Shapes, settings: Settings) -> None:
    """Compare the tensors with those that this configuration has on the base model, by name and shape."""
    wanted = _wanted(config, settings)
    trained = f"add one that was trained on {settings.model}, or set model to its base model"
    for name in sorted(wanted.keys() | shapes.keys()):
        if name not in shapes:
            raise _Refused(f"lacks the weights {name}, which its configuration promises", "copy or save it again")
        if name not in wanted:
            raise _Refused(f"has weights for {name}, where the base model or its configuration has no place", trained)
        rank = 0 if ".lora_A." in name else 1
        found, right = shapes[name], wanted[name]
        if found == right:
            continue
        if len(found) == len(right) and found[1 - rank] == right[1 - rank]:
            raise _Refused(
                f"has weights of rank {found[rank]} ({name}) where its configuration says {right[rank]}",
                "save it again with PEFT's save_pretrained",
            )
        sizes = " by ".join(map(str, found)), " by ".join(map(str, right))
        raise _Refused(f"has weights of {sizes[0]} ({name}) where the base model needs {sizes[1]}", trained)


def _wanted(config: dict[str, Any], settings: Settings) -> Shapes:
    """The tensors of an adapter of this configuration; the base model is laid out without its weights."""
    import torch  # noqa: PLC0415 - seconds, as the rest
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415

    from whylike.adapters.engines.model import packaged_folder, quiet  # noqa: PLC0415

    with quiet():
        from peft import LoraConfig, PeftModel, get_peft_model_state_dict  # noqa: PLC0415 - it warns
        from peft.tuners.lora import LoraLayer  # noqa: PLC0415

    name = str(packaged_folder(settings.cache)) if settings.model == PACKAGED_MODEL else settings.model
    with quiet(), torch.device("meta"):
        try:
            described = AutoConfig.from_pretrained(name, local_files_only=True)
            base = AutoModelForCausalLM.from_config(described)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise EngineError(
                f"the base model {settings.model!r} is not here to compare an adapter with ({_first_line(error)}); "
                "set model to a folder that holds it, or run one answer with it first"
            ) from None
        head = base.get_output_embeddings()
        try:
            adapted = PeftModel(base, LoraConfig(**config), "it", autocast_adapter_dtype=False)
        except Exception as error:  # whatever PEFT meets in a configuration that it was not made for
            raise _Refused(
                f"does not fit the base model ({_first_line(error)})",
                f"add one that was trained on {settings.model}, or set model to its base model",
            ) from None
        for place, module in adapted.named_modules():
            if isinstance(module, LoraLayer) and (
                not isinstance(module.get_base_layer(), torch.nn.Linear) or module.get_base_layer() is head
            ):
                raise _Refused(
                    f"adapts {place.removeprefix('base_model.model.')}, which not every engine can serve",
                    "train it on the linear layers inside the model only",
                )
        state = get_peft_model_state_dict(adapted, adapter_name="it", save_embedding_layers=False)
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _check_numbers(path: Path) -> None:
    """Refuse weights that are not numbers: one makes every answer worthless."""
    from safetensors import safe_open  # noqa: PLC0415 - seconds

    with safe_open(path, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 - not a mapping
            if not weights.get_tensor(name).isfinite().all():
                raise _Refused(f"has weights that are not finite numbers ({name})", "train it again, more slowly")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
