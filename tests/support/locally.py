"""Helpers of the tests of the local engine."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from whylike.adapters.engines.base import Adapter, Prompt, Weighing, Writing
from whylike.adapters.engines.decoding import Runner
from whylike.adapters.engines.rendering import Renderer
from whylike.records import Expert

LABELS = ("1", "2", "3", "4", "5")
SOON = 180
"""Seconds that anything may take, the making of a graph among it, on a machine that does much else."""


class Watched:
    """What a runner's forward calls were: rows and new tokens of each, and a gate that can hold them up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[int, int]] = []
        self.adapters: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failure: Exception | None = None
        forward = Runner._forward

        def watched(runner: Runner, rows: list, tokens: list, *rest: object) -> torch.Tensor:
            self.calls.append((len(rows), max(map(len, tokens))))
            self.adapters.append([row.adapter for row in rows])
            self.entered.set()
            assert self.gate.wait(SOON)
            if self.failure:
                raise self.failure
            return forward(runner, rows, tokens, *rest)

        monkeypatch.setattr(Runner, "_forward", watched)


def writing(made: Prompt, expert: Expert = Expert.SUMMARIZER, **changes: object) -> Writing:
    return Writing(**{"expert": expert, "prompt": made, "max_tokens": 8, **changes})


def weighing(made: Prompt, expert: Expert = Expert.PREDICTOR, labels: tuple[str, ...] = LABELS) -> Weighing:
    return Weighing(expert=expert, prompt=made, labels=labels)


class Reference:
    """transformers and PEFT alone: a model for each expert, one prompt at a time, nothing kept."""

    def __init__(self, tiny: Path, adapters: dict[Expert, Adapter], tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.renderer = Renderer(tokenizer)
        self.models: dict[Expert, torch.nn.Module] = {}
        for expert in Expert:
            base = LlamaForCausalLM.from_pretrained(tiny).eval()
            self.models[expert] = (
                PeftModel.from_pretrained(base, adapters[expert].folder) if expert in adapters else base
            )

    def greedy(self, request: Writing) -> str:
        ids = torch.tensor([self.renderer.render(request.prompt).ids])
        model = self.models[request.expert]
        out = model.generate(ids, max_new_tokens=request.max_tokens, do_sample=False, pad_token_id=0)
        return self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)

    def probabilities(self, request: Weighing) -> list[float]:
        with torch.inference_mode():
            logits = self.models[request.expert](torch.tensor([self.renderer.render(request.prompt).ids])).logits[0, -1]
        return logits[self.tokenizer.convert_tokens_to_ids(list(request.labels))].softmax(0).tolist()
