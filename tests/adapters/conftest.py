"""Engines to test: scripted, local on a tiny random model with the real tokenizer, and a real vLLM server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from peft import LoraConfig, get_peft_model
from random_model import random_model
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from whylike.adapters.engines.base import Adapter, Engine, Message, Prompt
from whylike.adapters.engines.local import LocalEngine
from whylike.adapters.engines.model import packaged_folder
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.adapters.engines.vllm import VllmEngine
from whylike.adapters.registry.registry import Registry
from whylike.memory.store import Store
from whylike.records import Expert, Provenance
from whylike.settings import Settings

CONTEXT = 512
"""Positions of the tiny model."""
TRAINED = (Expert.SUMMARIZER, Expert.PREDICTOR)
"""The experts that have an adapter; the others answer with the base model."""
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="session")
def prompt() -> Callable[..., Prompt]:
    """Makes a prompt of a system and a user turn."""

    def made(content: str, prefill: str = "", system: str = "You read reviews.", shared: int = 1) -> Prompt:
        messages = (Message(role="system", content=system), Message(role="user", content=content))
        return Prompt(messages=messages, prefill=prefill, shared=shared)

    return made


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(packaged_folder(Settings().cache))


@pytest.fixture(scope="session")
def tiny(common: Path) -> Path:
    """A random model: large weights, so that its answers differ clearly from prompt to prompt."""
    folder = common / "tiny"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            random_model(
                folder,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=CONTEXT,
                initializer_range=0.5,
            )
    return folder


@pytest.fixture(scope="session")
def train(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Adapter]:
    """Makes an adapter of the tiny model, by a seed, and of other settings than usual."""

    def trained(expert: Expert, seed: int, base: Path = tiny, **changes: object) -> Adapter:
        torch.manual_seed(seed)
        config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": list(PROJECTIONS), **changes})
        model = get_peft_model(LlamaForCausalLM.from_pretrained(base), config)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
        folder = tmp_path_factory.mktemp(expert.value)
        model.save_pretrained(folder)
        return Adapter(version=f"{expert}-{seed:08x}", folder=folder)

    return trained


Opens = Callable[..., LocalEngine]


@pytest.fixture(scope="session")
def adapters(train: Callable[..., Adapter]) -> dict[Expert, Adapter]:
    return {expert: train(expert, seed) for seed, expert in enumerate(TRAINED)}


@pytest.fixture(scope="session")
def others(train: Callable[..., Adapter]) -> dict[Expert, Adapter]:
    """Later versions, of other ranks and modules, and one of an expert that had none; the Summarizer has none."""
    return {
        Expert.PREDICTOR: train(Expert.PREDICTOR, 11, r=2, target_modules=["q_proj", "down_proj"]),
        Expert.REASONER: train(Expert.REASONER, 12, r=8),
    }


@pytest.fixture(scope="session")
def other_base(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the tiny model, with other weights."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("other")
    LlamaForCausalLM(LlamaConfig.from_pretrained(tiny)).save_pretrained(folder)
    return folder


@pytest.fixture
def settings(tiny: Path, tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", model=str(tiny), device="cpu")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings) as opened:
        yield opened


@pytest.fixture
def registry(settings: Settings, store: Store, tmp_path: Path) -> Registry:
    """A registry with which no adapters come."""
    return Registry(settings, store, tmp_path / "none-shipped")


@pytest.fixture
def made() -> Callable[..., Provenance]:
    return lambda expert, **told: Provenance(**{"expert": expert, "created_at": 1, "command": "test", **told})


@pytest.fixture
def copy(adapters: dict[Expert, Adapter], tmp_path: Path) -> Callable[..., Path]:
    """Copies the Summarizer's adapter for a test to change; other settings go into its configuration."""

    numbers = count()

    def copied(name: str, **changes: object) -> Path:
        folder = shutil.copytree(adapters[Expert.SUMMARIZER].folder, tmp_path / f"{name}-{next(numbers)}")
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | changes))
        return folder

    return copied


@pytest.fixture
def added(registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance]) -> Callable[..., str]:
    """Adds an adapter by a seed; the same seed is the same content."""
    return lambda expert, seed: registry.add(copy("added", lora_alpha=7 + seed), made(expert))


@pytest.fixture(scope="session")
def open_local(tiny: Path, adapters: dict[Expert, Adapter], common: Path) -> Opens:
    """Opens a local engine on the tiny model in fp32, where two ways to one answer differ by 1e-6 and no more."""

    def opened(**changes: object) -> LocalEngine:
        settings = Settings(**{"model": str(tiny), "device": "cpu", "cache": common / "cache", **changes})
        return LocalEngine(settings, adapters, dtype=torch.float32)

    return opened


@pytest.fixture(scope="session")
def open_reference(open_local: Opens) -> Opens:
    """The same, run by transformers and PEFT."""
    return partial(open_local, engine="reference")


@pytest.fixture(scope="session", params=["scripted", "reference", "cpu", pytest.param("vllm", marks=pytest.mark.model)])
def kind(request: pytest.FixtureRequest) -> str:
    """The kinds of engines that the conformance suite is about."""
    return request.param


@pytest.fixture(scope="session")
def live(request: pytest.FixtureRequest, kind: str) -> dict[Expert, Adapter]:
    """The adapters that an engine of this kind is opened with."""
    return request.getfixturevalue("vllm").adapters if kind == "vllm" else request.getfixturevalue("adapters")


@pytest.fixture(scope="session")
def later(request: pytest.FixtureRequest, kind: str) -> dict[Expert, Adapter]:
    """Others that it may adopt."""
    return request.getfixturevalue("vllm").others if kind == "vllm" else request.getfixturevalue("others")


@pytest.fixture(scope="session")
def open_one(request: pytest.FixtureRequest, kind: str, live: dict[Expert, Adapter]) -> Callable[[], Engine]:
    """Opens an engine of each kind, with the `live` adapters."""
    match kind:
        case "scripted":
            return partial(ScriptedEngine, adapters=live)
        case "reference":
            return request.getfixturevalue("open_reference")
        case "cpu":
            return request.getfixturevalue("open_local")
        case "vllm":
            return partial(VllmEngine, request.getfixturevalue("vllm").settings, live)
        case other:
            raise AssertionError(other)


@pytest.fixture(scope="session")
def engine(open_one: Callable[[], Engine]) -> Iterator[Engine]:
    opened = open_one()
    yield opened
    opened.close()
