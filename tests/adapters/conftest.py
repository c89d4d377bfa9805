"""Engines to test: the scripted one, and the local one on a tiny random model with the real tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from whylike.adapters.engines.base import Engine, Message, Prompt
from whylike.adapters.engines.local import LocalEngine
from whylike.adapters.engines.model import packaged_folder
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.records import Expert
from whylike.settings import Settings

CONTEXT = 512
"""Positions of the tiny model."""
TRAINED = (Expert.SUMMARIZER, Expert.PREDICTOR)
"""The experts that have an adapter; the others answer with the base model."""


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """A tiny model gains nothing from threads, which wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
def tiny(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A random model: large weights, so that its answers differ clearly from prompt to prompt."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.5,
        eos_token_id=tokenizer.eos_token_id,
    )
    folder = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapters(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Expert, Path]:
    folders = {}
    for seed, expert in enumerate(TRAINED):
        torch.manual_seed(seed)
        projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        config = LoraConfig(r=4, lora_alpha=8, target_modules=projections, task_type="CAUSAL_LM")
        model = get_peft_model(LlamaForCausalLM.from_pretrained(tiny), config)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
        folders[expert] = tmp_path_factory.mktemp(expert.value)
        model.save_pretrained(folders[expert])
    return folders


Opens = Callable[..., LocalEngine]


@pytest.fixture(scope="session")
def open_local(tiny: Path, adapters: dict[Expert, Path], tmp_path_factory: pytest.TempPathFactory) -> Opens:
    """Opens a local engine on the tiny model in fp32, where two ways to one answer differ by 1e-6 and no more."""
    cache = tmp_path_factory.mktemp("cache")

    def opened(**changes: object) -> LocalEngine:
        settings = Settings(**{"model": str(tiny), "device": "cpu", "cache": cache, **changes})
        return LocalEngine(settings, adapters, dtype=torch.float32)

    return opened


@pytest.fixture(scope="session")
def open_reference(open_local: Opens) -> Opens:
    """The same, run by transformers and PEFT."""
    return partial(open_local, engine="reference")


@pytest.fixture(scope="session", params=["scripted", "reference", "cpu"])
def open_one(request: pytest.FixtureRequest) -> Callable[[], Engine]:
    """Opens an engine of each kind: what the conformance suite is about."""
    match request.param:
        case "scripted":
            return ScriptedEngine
        case "reference":
            return request.getfixturevalue("open_reference")
        case "cpu":
            return request.getfixturevalue("open_local")
        case other:
            raise AssertionError(other)


@pytest.fixture(scope="session")
def engine(open_one: Callable[[], Engine]) -> Iterator[Engine]:
    opened = open_one()
    yield opened
    opened.close()
