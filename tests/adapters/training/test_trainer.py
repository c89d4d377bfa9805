"""Training: what is learned, that a seed settles it, that a killed run goes on; on a tiny model."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file
from transformers import PreTrainedModel
from trl.trainer.sft_config import SFTConfig

from whylike.adapters.engines.base import Message, Prompt
from whylike.adapters.engines.model import Base, find_base
from whylike.adapters.registry.identity import fingerprint
from whylike.adapters.training import trainer
from whylike.adapters.training.answers import AnswerTrainer
from whylike.adapters.training.examples import Example
from whylike.adapters.training.trainer import News, Recipe, Trained, _config, _loaded
from whylike.errors import UsageError
from whylike.settings import Settings

train = partial(trainer.train, target=torch.device("cpu"))
RECIPE = Recipe(rank=4, alpha=8, rate=0.02, epochs=3, batch=4, at_once=4, checks=2, patience=9)
WORDS = ("cat", "dog", "sun", "sea", "red", "ice")


def example(number: int) -> Example:
    word = WORDS[number % len(WORDS)]
    prompt = Prompt(messages=(Message(role="user", content=f"{number} {word}"),))
    return Example(prompt=prompt, answer=word.upper() * (1 + number % 3), group=word)


LEARNED = [example(number) for number in range(24)]
CHECKED = [example(number) for number in range(24, 32)]


class Whole(NamedTuple):
    """A training that nothing disturbed."""

    trained: Trained
    news: list[News]


@pytest.fixture(scope="module")
def base(tiny: Path) -> Base:
    return find_base(Settings(model=str(tiny)))


@pytest.fixture(scope="module")
def whole(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    news: list[News] = []
    return Whole(train(base, LEARNED, CHECKED, RECIPE, tmp_path_factory.mktemp("whole"), told=news.append), news)


@pytest.fixture(scope="module")
def broken_off(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same training, which was killed."""
    work = tmp_path_factory.mktemp("killed") / "work"
    kill(work, tiny, LEARNED, RECIPE, dies=10)
    return work


def test_the_loss_falls_and_one_seed_gives_one_adapter(base: Base, whole: Whole, tmp_path: Path):
    first, news = whole
    losses = [each.validation for each in news if each.validation is not None]
    assert losses[-1] < losses[0] - 0.05
    assert first.loss == pytest.approx(min(losses))
    assert (first.examples, first.left_out, first.steps) == (24, 0, 18)
    assert news[-1].step == news[-1].steps == 18
    again = train(base, LEARNED, CHECKED, RECIPE, tmp_path / "again")
    other = train(base, LEARNED, CHECKED, RECIPE.model_copy(update={"seed": 1}), tmp_path / "other")
    assert fingerprint(again.folder) == fingerprint(first.folder)
    assert fingerprint(other.folder) != fingerprint(first.folder)


def test_what_is_too_long_is_left_out_and_nothing_to_learn_from_is_refused(base: Base, tmp_path: Path):
    long = Example(prompt=LEARNED[0].prompt, answer="sea " * 400, group="long")
    short = RECIPE.model_copy(update={"longest": 200, "epochs": 1})
    often = LEARNED[0].model_copy(update={"times": 3})
    trained = train(base, [often, *LEARNED[1:], long], CHECKED, short, tmp_path / "some")
    assert (trained.examples, trained.left_out) == (26, 1)
    for learned, checked in (([long], CHECKED), (LEARNED, [long])):
        with pytest.raises(UsageError, match=r"of at most 200 tokens; annotate more"):
            train(base, learned, checked, short, tmp_path / "none")


def test_a_step_has_as_many_examples_as_were_asked_for(base: Base, tmp_path: Path):
    six = RECIPE.model_copy(update={"batch": 6, "epochs": 1})
    assert train(base, LEARNED, CHECKED, six, tmp_path / "six").steps == 4


def test_a_training_that_diverged_says_so(base: Base, tmp_path: Path):
    wild = RECIPE.model_copy(update={"rate": 1e30})
    with pytest.raises(UsageError, match=r"diverged \(validation loss .+\); give a --rate below 1e\+30"):
        train(base, LEARNED, CHECKED, wild, tmp_path / "wild")


def test_processes_that_do_not_divide_a_step_are_refused(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("whylike.adapters.training.trainer.processes", lambda _: SimpleNamespace(num_processes=3))
    with pytest.raises(UsageError, match="3 processes cannot share a step of 4 examples"):
        train(base, LEARNED, CHECKED, RECIPE, tmp_path / "none")


class Saying(torch.nn.Module):
    """Finds every token of four as likely as any other."""

    def forward(self, input_ids: torch.Tensor, logits_to_keep: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.zeros(len(input_ids), len(logits_to_keep), 4))


@pytest.mark.parametrize("together", [1, 2])
def test_a_process_makes_up_for_the_mean_of_all_gradients(together: int):
    trainer = SimpleNamespace(accelerator=SimpleNamespace(num_processes=together))
    inputs = {"input_ids": torch.tensor([[1, 2, 3, 0]]), "labels": torch.tensor([[-100, -100, 3, 0]])}
    loss = AnswerTrainer.compute_loss(trainer, Saying(), inputs, num_items_in_batch=8)
    assert float(loss) == pytest.approx(together * 2 * math.log(4) / 8)


DIES = """
import json, os, signal, sys
from pathlib import Path
import torch
from whylike.adapters.engines.model import find_base
from whylike.adapters.training.examples import Example
from whylike.adapters.training.trainer import Recipe, train
from whylike.settings import Settings

job = json.loads(Path(sys.argv[1]).read_text())
def told(news):
    if news.step >= job["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
examples, checked = ([Example(**each) for each in job[name]] for name in ("examples", "checked"))
base, recipe = find_base(Settings(model=job["model"])), Recipe(**job["recipe"])
train(base, examples, checked, recipe, Path(job["work"]), target=torch.device("cpu"), told=told)
"""


def kill(work: Path, model: Path, examples: list[Example], recipe: Recipe, *, dies: int) -> None:
    """Train in a process that is killed at the first news of a step, before what that decides is kept."""
    job = {
        "examples": [each.model_dump(mode="json") for each in examples],
        "checked": [each.model_dump(mode="json") for each in CHECKED],
        "recipe": recipe.model_dump(),
        "model": str(model),
        "work": str(work),
        "dies": dies,
    }
    told = work.with_name("job.json")
    told.write_text(json.dumps(job))
    killed = subprocess.run([sys.executable, "-c", DIES, str(told)], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL


@pytest.mark.parametrize("broken", [False, True])
def test_a_killed_run_goes_on_to_the_same_end(base: Base, whole: Whole, broken_off: Path, tmp_path: Path, broken: bool):
    shutil.copytree(broken_off, tmp_path / "killed")
    kept = sorted((tmp_path / "killed" / "checkpoints").iterdir())
    assert kept
    if broken:  # as if the kills had come while these were written
        for step in (12, 15):
            (kept[-1].with_name(f"checkpoint-{step}")).mkdir()
        (kept[-1].with_name("checkpoint-12") / "trainer_state.json").write_text('{"global_step": 1')
    steps: list[int] = []
    trained = train(base, LEARNED, CHECKED, RECIPE, tmp_path / "killed", told=lambda news: steps.append(news.step))
    assert min(steps) > 5, "it goes on, and does not begin again"
    assert trained.steps == whole.trained.steps
    assert trained.loss == pytest.approx(whole.trained.loss, rel=1e-3)


def test_a_killed_run_goes_on_as_patient_as_it_was(base: Base, tiny: Path, tmp_path: Path):
    """Learning what is wrong: every validation is worse than the first, so two of them end it."""
    wrong = [each.model_copy(update={"answer": "NO"}) for each in LEARNED]
    soon = RECIPE.model_copy(update={"patience": 2, "epochs": 4, "rate": 0.05})
    undisturbed = train(base, wrong, CHECKED, soon, tmp_path / "whole")
    assert undisturbed.steps < 24, "it must have lost its patience for this test to see it"
    kill(tmp_path / "killed", tiny, wrong, soon, dies=undisturbed.steps)
    trained = train(base, wrong, CHECKED, soon, tmp_path / "killed")
    assert (trained.steps, trained.loss) == (undisturbed.steps, pytest.approx(undisturbed.loss, rel=1e-3))


def test_a_run_killed_after_it_had_lost_its_patience_does_not_train_on(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wrong = [each.model_copy(update={"answer": "NO"}) for each in LEARNED]
    soon = RECIPE.model_copy(update={"patience": 2, "epochs": 4, "rate": 0.05})
    undisturbed = train(base, wrong, CHECKED, soon, tmp_path / "run")
    made = fingerprint(undisturbed.folder)
    shutil.rmtree(undisturbed.folder)
    (tmp_path / "run").rename(tmp_path / "moved")
    monkeypatch.setattr(AnswerTrainer, "train", None)
    again = train(base, wrong, CHECKED, soon, tmp_path / "moved")
    assert (again.steps, again.loss) == (undisturbed.steps, undisturbed.loss)
    assert fingerprint(again.folder) == made


def test_a_training_goes_on_from_an_adapter(base: Base, whole: Whole, tmp_path: Path):
    still = RECIPE.model_copy(update={"rate": 1e-8, "epochs": 1})
    anew = train(base, LEARNED, CHECKED, still, tmp_path / "anew")
    on = train(base, LEARNED, CHECKED, still, tmp_path / "on", parent=whole.trained.folder)
    assert on.loss == pytest.approx(whole.trained.loss, abs=0.02)
    assert anew.loss > on.loss + 0.05, "a new one has yet to learn what the other knows"


@pytest.mark.parametrize("half", [True, False])
def test_a_cpu_that_cannot_multiply_bf16_trains_in_fp32(
    half: bool, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: half)
    multiplied: set[torch.dtype] = set()
    linear = torch.nn.functional.linear

    def spied(given: torch.Tensor, *rest: torch.Tensor | None) -> torch.Tensor:
        made = linear(given, *rest)
        multiplied.add(made.dtype)
        return made

    monkeypatch.setattr(torch.nn.functional, "linear", spied)
    once = RECIPE.model_copy(update={"epochs": 1})
    trained = train(base, LEARNED, CHECKED, once, tmp_path / "work")
    assert multiplied == {torch.bfloat16 if half else torch.float32}
    assert str(multiplied.pop()) == f"torch.{trainer.environment(torch.device('cpu'))['precision']}", "as its card says"
    kept = load_file(trained.folder / "adapter_model.safetensors")
    assert {weight.dtype for weight in kept.values()} == {torch.bfloat16}, "the same file comes of both"


def test_a_model_of_four_bits_learns(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With the settings of a GPU (QLoRA), but computed here: bitsandbytes has kernels for a CPU too."""
    loaded: list[PreTrainedModel] = []

    def load(*asked: Any, **_: bool) -> PreTrainedModel:
        loaded.append(_loaded(*asked, on_gpu=True))
        return loaded[0]

    made = SFTConfig.__init__

    def here(self: SFTConfig, **given: Any) -> None:
        made(self, **given | {"use_cpu": True, "dataloader_pin_memory": False})

    # On some CPUs it packs the weights anew for its evaluation, which takes no matrix as small as these.
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)
    monkeypatch.setattr(trainer, "_loaded", load)
    monkeypatch.setattr(trainer, "_config", lambda *asked, **given: _config(*asked, **given | {"on_gpu": True}))
    monkeypatch.setattr(SFTConfig, "__init__", here)
    news: list[News] = []
    trained = train(base, LEARNED, CHECKED, RECIPE, tmp_path / "four", told=news.append)
    quantized = [module for module in loaded[0].modules() if isinstance(module, Linear4bit)]
    assert len(quantized) >= 7 * loaded[0].config.num_hidden_layers
    for module in quantized:
        assert module.weight.quant_state.quant_type == "nf4"
        assert module.weight.quant_state.nested, "the constants are quantized as well"
        assert module.compute_dtype is torch.bfloat16
    told = trainer.environment(torch.device("cuda"))
    assert told["precision"] == "nf4, computed in bf16"
    assert "bitsandbytes" in told
    losses = [each.validation for each in news if each.validation is not None]
    assert losses[-1] < losses[0]
    learned = load_file(trained.folder / "adapter_model.safetensors")
    assert learned
    assert all(weight.is_floating_point() and weight.isfinite().all() for weight in learned.values())
