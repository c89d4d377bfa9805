"""Small random models with the real tokenizer, for what asks no sense of a model."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from whylike.adapters.engines.model import packaged_folder
from whylike.settings import Settings


def random_model(folder: Path, **sizes: float) -> Path:
    """Write a Llama of these sizes, the same each time, with the packaged model's tokenizer to a folder."""
    tokenizer = AutoTokenizer.from_pretrained(packaged_folder(Settings().cache))
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
