"""The local engine takes on other adapters while it answers, and refuses those that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from locally import SOON, Reference, Watched, weighing, writing
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.decoding import Job, Runner
from whylike.adapters.engines.forward import BASE
from whylike.adapters.engines.local import LocalEngine
from whylike.adapters.engines.model import base_version
from whylike.adapters.engines.torch_model import TorchModel
from whylike.errors import EngineError
from whylike.records import Expert
from whylike.settings import Settings


def test_adopted_adapters_answer_as_transformers_and_peft_do(
    fresh: LocalEngine, tiny: Path, others, tokenizer: PreTrainedTokenizerFast, prompt
):
    """The Summarizer's adapter goes, the Predictor's is of other modules and rank, the Reasoner gets one."""
    requests = [weighing(prompt("Good.", prefill="Rating: "), expert) for expert in Expert]
    fresh.weigh(requests)
    fresh.adopt(others)
    reference = Reference(tiny, others, tokenizer)
    for request, mixed in zip(requests, fresh.weigh(requests), strict=True):
        [alone] = fresh.weigh([request])
        for answer in (mixed, alone):
            assert answer.probabilities == pytest.approx(reference.probabilities(request), rel=1e-4)


def test_adoptions_leave_nothing_behind(fresh: LocalEngine, adapters, others, prompt, monkeypatch: pytest.MonkeyPatch):
    runners: list[Runner] = []
    keep = Runner.keep
    monkeypatch.setattr(Runner, "keep", lambda self, versions: (runners.append(self), keep(self, versions)))
    requests = [weighing(prompt("Good.", system="Read. " * 9), expert) for expert in Expert]
    sizes = []
    for live in (adapters, others, adapters, others, {}, adapters, others, {}):
        fresh.adopt(live)
        fresh.weigh(requests)
        fresh.adopt(live)  # the work before it is done to its end, the unloading too
        runner = runners[-1]
        held = {adapter.version for adapter in live.values()}
        assert runner.loaded == held
        kept = runner._prefixes._kept
        assert {version for version, _ in kept} == {BASE, *held}
        assert runner._prefixes._held == sum(prefix.tokens for prefix in kept.values())
        sizes.append(size(runner))
    assert sizes[:2] == sizes[2:4] == sizes[5:7]
    assert sizes[4] == sizes[7] == min(sizes)
    if isinstance(runner._model, TorchModel):
        assert not [module for module in runner._model.model.modules() if isinstance(module, LoraLayer)]


def size(runner: Runner) -> int:
    """How much is in memory: weights, or graphs."""
    if isinstance(runner._model, TorchModel):
        return sum(weight.numel() for weight in runner._model.model.parameters())
    return len(runner._model._requests)


def test_requests_that_wait_are_answered_by_what_was_live_when_they_came(
    fresh: LocalEngine, watched: Watched, adapters, others, prompt
):
    """An adoption waits for the batch under way and not for those that wait; these still get the old adapter."""
    fresh.weigh([weighing(prompt("Good."))])
    watched.gate.clear()
    watched.entered.clear()
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(fresh.weigh, [weighing(prompt("Good."))])
        assert watched.entered.wait(SOON)
        waiting = pool.submit(fresh.weigh, [weighing(prompt("Bad."))] * 2)
        with fresh._changed:
            assert fresh._changed.wait_for(lambda: len(fresh._waiting) == 2, SOON)
        adoption = pool.submit(fresh.adopt, others)
        with fresh._changed:
            assert fresh._changed.wait_for(lambda: fresh._adoptions, SOON)
        assert fresh.adapter_version(Expert.PREDICTOR) == adapters[Expert.PREDICTOR].version
        watched.gate.set()
        adoption.result(SOON)
        old = {answer.adapter_version for answer in (*running.result(SOON), *waiting.result(SOON))}
    assert old == {adapters[Expert.PREDICTOR].version}
    assert fresh.weigh([weighing(prompt("Bad."))])[0].adapter_version == others[Expert.PREDICTOR].version


def test_an_adoption_that_waits_is_told_when_the_engine_is_closed(fresh: LocalEngine, watched: Watched, prompt):
    watched.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(fresh.weigh, [weighing(prompt("Good.", shared=0))])
        assert watched.entered.wait(SOON)
        adoption = pool.submit(fresh.adopt, {})
        with fresh._changed:
            assert fresh._changed.wait_for(lambda: fresh._adoptions, SOON)
        closing = pool.submit(fresh.close)
        assert fresh._closed.wait(SOON)
        watched.gate.set()
        closing.result(SOON)
        with pytest.raises(EngineError, match="closed before"):
            adoption.result(SOON)
        assert running.result(SOON)


def no_adapter(folder: Path, tiny: Path) -> None:
    pass


def other_base(folder: Path, tiny: Path) -> None:
    config = LlamaConfig(vocab_size=64, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder)


def deeper_base(folder: Path, tiny: Path) -> None:
    """Fits as far as there are layers."""
    config = LlamaConfig.from_pretrained(tiny, num_hidden_layers=3)
    get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder)


def whole_modules(folder: Path, tiny: Path) -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    get_peft_model(LlamaForCausalLM.from_pretrained(tiny), config).save_pretrained(folder)


def norms_too(folder: Path, tiny: Path) -> None:
    """PEFT fails in the middle of the model, where some layers have been replaced."""
    config = LoraConfig(r=2, target_modules=["q_proj"])
    get_peft_model(LlamaForCausalLM.from_pretrained(tiny), config).save_pretrained(folder)
    told = json.loads((folder / "adapter_config.json").read_text())
    told["target_modules"] = ["q_proj", "input_layernorm"]
    (folder / "adapter_config.json").write_text(json.dumps(told))


def truncated(folder: Path, tiny: Path) -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"])
    get_peft_model(LlamaForCausalLM.from_pretrained(tiny), config).save_pretrained(folder)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


BROKEN = [no_adapter, other_base, deeper_base, whole_modules, norms_too, truncated]


@pytest.fixture(scope="module", params=["no adapters yet", "beside others"])
def swapped(
    request: pytest.FixtureRequest, open_local: Callable[..., LocalEngine]
) -> Iterator[tuple[LocalEngine, dict[Expert, Adapter]]]:
    """An engine and the adapters that it has."""
    had = {} if request.param == "no adapters yet" else request.getfixturevalue("adapters")
    opened = open_local()
    opened.adopt(had)
    yield opened, had
    opened.close()


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_an_adapter_that_does_not_load_is_refused_and_changes_nothing(
    swapped, engine: LocalEngine, request: pytest.FixtureRequest, prompt, broken: Callable[[Path, Path], None]
):
    """The model and what it answers are as before, and adapters that load are taken on afterwards."""
    runners: list[Runner] = []
    keep = Runner.keep
    watched = lambda self, versions: (runners.append(self), keep(self, versions))  # noqa: E731
    request.getfixturevalue("monkeypatch").setattr(Runner, "keep", watched)
    folder = request.getfixturevalue("tmp_path")
    broken(folder, request.getfixturevalue("tiny"))
    failing, had = swapped
    adapters = engine._adapters
    asked = [writing(prompt("Good."), expert) for expert in Expert]
    before = failing.write(asked)
    bad = Adapter(version="reasoner-bad", folder=folder)
    with pytest.raises(EngineError, match=r"does not fit the base model \(.*\); promote one"):
        failing.adopt({Expert.PREDICTOR: adapters[Expert.SUMMARIZER], Expert.REASONER: bad})
    assert bad.version not in runners[-1].loaded
    if isinstance(runners[-1]._model, TorchModel):
        assert not [name for name, _ in runners[-1]._model.model.named_parameters() if bad.version in name]
    assert failing.write(asked) == before
    failing.adopt(adapters)
    assert failing.write(asked) == engine.write(asked)
    failing.adopt(had)
    assert failing.write(asked) == before


def test_an_adapter_that_does_not_load_fails_only_who_asks_its_expert(tiny: Path, adapters, tmp_path: Path, prompt):
    bad = {**adapters, Expert.REASONER: Adapter(version="reasoner-bad", folder=tmp_path)}
    settings = Settings(model=str(tiny), device="cpu", cache=tmp_path / "cache")
    engine = LocalEngine(settings, bad, dtype=torch.float32)
    jobs = [Job(writing(prompt("Good."), expert)) for expert in (Expert.REASONER, Expert.SUMMARIZER)]
    engine._enqueue(jobs)
    assert jobs[1].answer.result(60).adapter_version == adapters[Expert.SUMMARIZER].version
    with pytest.raises(EngineError, match="does not fit the base model"):
        jobs[0].answer.result(60)
    engine.adopt(adapters)
    assert engine.write([jobs[0].request])[0].adapter_version == base_version(str(tiny))
    engine.close()
