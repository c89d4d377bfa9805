"""Training one adapter with trl and peft: resumable, stopped early, the same for the same seed."""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field

from whylike.adapters.engines.model import Base, computed_in, quiet
from whylike.adapters.engines.rendering import Renderer
from whylike.adapters.training.examples import Example, tokens
from whylike.adapters.training.heap import give_back, keep_freed
from whylike.errors import UsageError
from whylike.records import RatingScale, Record

if TYPE_CHECKING:
    from accelerate import PartialState
    from peft import PeftModel
    from transformers import PreTrainedModel, TrainerCallback, TrainerState
    from trl.trainer.sft_config import SFTConfig

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


SORTED = 20
"""Batches whose examples are sorted by length together: more would give every epoch the same batches."""


SHORT = 640
"""Tokens up to which attention is written out on a CPU: its backward pass is a fifth faster than the fused kernel's,
but its memory grows with the square of the length."""


PADDED = 64
"""Batches on a CPU are padded to a multiple of so many tokens, so that they have few lengths and what one frees fits
the next."""


class Recipe(Record):
    """How an adapter is trained. The defaults suit a student of 135M parameters on a CPU (method: Teaching)."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    rate: float = Field(default=1e-3, gt=0)
    """Learning rate at its highest."""
    epochs: int = Field(default=3, ge=1)
    batch: int = Field(default=16, ge=1)
    """Examples of one step."""
    at_once: int = Field(default=4, ge=1)
    """Most examples that are computed at once; a step takes as many turns as it needs."""
    longest: int = Field(default=1200, ge=16)
    """Most tokens of an example; one that is longer is left out (EXP3RT: 1,200)."""
    patience: int = Field(default=2, ge=1)
    """Validations without a lower loss after which training ends: with two in an epoch, one epoch (EXP3RT: 1)."""
    checks: int = Field(default=2, ge=1)
    """Validations, each with a checkpoint, in an epoch."""
    seed: int = 0


class News(Record):
    """How far training is."""

    step: int
    steps: int
    loss: float | None = None
    """Mean over the last steps."""
    validation: float | None = None
    """Loss on the validation examples."""
    tokens_per_s: float | None = None
    """Of prompts and answers, since this run began."""


class Trained(Record):
    """What came of it."""

    folder: Path
    """Holds what PEFT saves."""
    examples: int
    """Learned in an epoch, each as often as it is."""
    left_out: int
    """Those of them that were too long."""
    steps: int
    loss: float
    """On the validation examples, the lowest, which is the adapter's."""
    padding: float
    """Share of the computed tokens that are padding: most of what packing could save."""
    rmse: float | None = None
    """Of the expectation on the validation examples of the scale that was asked for, in its units."""


def train(
    base: Base,
    examples: Sequence[Example],
    validation: Sequence[Example],
    recipe: Recipe,
    work: Path,
    *,
    target: torch.device,
    scale: RatingScale | None = None,
    parent: Path | None = None,
    told: Callable[[News], None] = lambda _: None,
) -> Trained:
    """Train an adapter of `base`, or go on where a run with the same `work` was killed.

    Examples are not packed: batches of like length leave little padding, and examples in one sequence would need
    kernels that keep them apart, which there are for GPUs alone.

    Args:
        base: Loaded as `environment` tells.
        examples: What is learned.
        validation: What decides when to stop, and which checkpoint is kept.
        recipe: How.
        work: Folder of this run alone, for checkpoints and the adapter; made where it is missing.
        target: The device that computes (`model.device`).
        scale: Of the ratings whose error is wanted.
        parent: Folder of the adapter to go on from, which has the recipe's rank and alpha; None begins a new one.
        told: Told of progress.

    Raises:
        UsageError: There is nothing to learn from, or nothing to validate with, or the loss is no number in the end.
        EngineError: The base model cannot be loaded.
    """
    with quiet():
        from datasets import Dataset  # noqa: PLC0415 - seconds
        from peft import LoraConfig, load_peft_weights, set_peft_model_state_dict  # noqa: PLC0415
        from transformers import PrinterCallback, set_seed  # noqa: PLC0415

        from whylike.adapters.training.answers import AnswerTrainer  # noqa: PLC0415

    group = processes(target)
    if recipe.batch % group.num_processes:
        raise UsageError(
            f"{group.num_processes} processes cannot share a step of {recipe.batch} examples; "
            "give a --batch that is a multiple of their number"
        )
    renderer = Renderer(base.tokenizer)
    fitting = [row for row, example in _read(examples, renderer, base, recipe) for _ in range(example.times)]
    heard = _read(validation, renderer, base, recipe)
    if not fitting or not heard:
        raise UsageError(
            f"there are {len(fitting)} examples to learn from and {len(heard)} to validate with of at most "
            f"{recipe.longest:,} tokens; annotate more reviews first, or for ratings ingest more"
        )
    on_gpu = target.type == "cuda"
    if not on_gpu:
        keep_freed()
    lengths = [len(row["input_ids"]) for row in fitting]
    order = ordered(lengths, recipe)
    per_epoch = math.ceil(len(fitting) / recipe.batch)
    every = max(per_epoch // recipe.checks, 1)
    with quiet():
        set_seed(recipe.seed)
        config = _config(
            recipe, work, every, warmup=max(per_epoch // 10, 1), on_gpu=on_gpu, together=group.num_processes
        )
        trainer = AnswerTrainer(
            model=_loaded(base, max(lengths), on_gpu=on_gpu),
            args=config,
            train_dataset=Dataset.from_list(fitting).select(order),
            eval_dataset=Dataset.from_list([row for row, _ in heard]),
            processing_class=base.tokenizer,
            peft_config=LoraConfig(
                r=recipe.rank,
                lora_alpha=recipe.alpha,
                lora_dropout=recipe.dropout,
                target_modules=list(PROJECTIONS),
                task_type="CAUSAL_LM",
            ),
            callbacks=_callbacks(recipe, told),
        )
        trainer.remove_callback(PrinterCallback)
        model: PeftModel = trainer.model  # type: ignore[assignment]
        if parent:
            set_peft_model_state_dict(model, load_peft_weights(str(parent), device="cpu"))
        with group.main_process_first():  # which removes what is broken
            last = _last_checkpoint(work / "checkpoints")
        if last and (ended := _out_of_patience(last, recipe)):
            # The trainer would forget that it had come to its end, and go on.
            trainer.state, best = ended
            set_peft_model_state_dict(model, load_peft_weights(best, device="cpu"))
        else:
            trainer.train(resume_from_checkpoint=last)
        state = trainer.state
        loss = state.best_metric
        if loss is None or not math.isfinite(loss):
            raise UsageError(f"the training diverged (validation loss {loss}); give a --rate below {recipe.rate:g}")
        group.wait_for_everyone()  # all have read the best checkpoint, which goes when the adapter is there
        folder = work / "adapter"
        for weight in model.parameters():
            if weight.requires_grad:  # learned in fp32, kept in half the bytes
                weight.data = weight.data.bfloat16()
        rmse = None
        if group.is_main_process:
            rated = [row for row, example in heard if scale and example.scale == scale]
            rmse = rating_error(model, rated, renderer, scale) if scale and rated else None
            model.save_pretrained(str(folder))
    give_back()
    return Trained(
        folder=folder,
        examples=len(fitting),
        left_out=sum(example.times for example in examples) - len(fitting),
        steps=state.global_step,
        loss=loss,
        padding=padding([lengths[index] for index in order], config.train_batch_size, 1 if on_gpu else PADDED),
        rmse=rmse,
    )


def environment(target: torch.device) -> dict[str, str]:
    """What an adapter's weights depend on besides its examples and its recipe.

    On a CPU the base model is in bf16, or fp32 (`model.computed_in`), on a GPU in four bits (NF4, double quantisation)
    and computed in bf16.
    """
    on_gpu = target.type == "cuda"
    precision = "nf4, computed in bf16" if on_gpu else str(computed_in(target)).removeprefix("torch.")
    libraries = ("torch", "transformers", "accelerate", "peft", "trl", *(("bitsandbytes",) if on_gpu else ()))
    return {
        "device": target.type,
        "precision": precision,
        "processes": str(processes(target).num_processes),
        **{name: version(name) for name in libraries},
    }


def _read(
    examples: Sequence[Example], renderer: Renderer, base: Base, recipe: Recipe
) -> list[tuple[dict[str, list[int]], Example]]:
    """The tokens of each example that is not too long."""
    read = [(tokens(example, renderer, base.tokenizer), example) for example in examples]
    return [(row, example) for row, example in read if len(row["input_ids"]) <= recipe.longest]


def processes(target: torch.device) -> PartialState:
    """Those that train together on such a device: all that `accelerate launch` started, else this one alone."""
    from accelerate import PartialState  # noqa: PLC0415 - seconds

    # The others wait while the first asks the Reasoner about pairs, which takes it hours.
    return PartialState(cpu=target.type != "cuda", timeout=timedelta(days=1))


def rating_error(
    model: PeftModel, rows: Sequence[dict[str, list[int]]], renderer: Renderer, scale: RatingScale
) -> float:
    """The RMSE of the expectation over the labels, read off where the label stands, as serving reads it.

    Args:
        model: The base with the adapter.
        rows: Of `examples.tokens`; each ends with a label and the end of the turn.
        renderer: Knows the labels' tokens.
        scale: Of the ratings.
    """
    labels = [renderer.label(each) for each in scale.labels]
    values = torch.tensor(scale.values)
    total = 0.0
    model.eval()
    with torch.inference_mode():
        for row in rows:
            *prompt, label, _ = row["input_ids"]
            logits = model(input_ids=torch.tensor([prompt], device=model.device), logits_to_keep=1).logits[0, -1]
            expected = logits[labels].float().softmax(-1).cpu() @ values
            total += float(expected - values[labels.index(label)]) ** 2
    return math.sqrt(total / len(rows))


def ordered(lengths: Sequence[int], recipe: Recipe) -> list[int]:
    """Which example comes when, over all epochs: batches of like length in random order, the same for one seed.

    It is made beforehand, and not drawn while training, so that a run that goes on meets what it would have met. A last
    batch that is not full is filled up with other examples.
    """
    chance = random.Random(recipe.seed)  # noqa: S311 - not for secrets
    order: list[int] = []
    for _ in range(recipe.epochs):
        shuffled = chance.sample(range(len(lengths)), len(lengths))
        shuffled += chance.choices(range(len(lengths)), k=-len(lengths) % recipe.batch)
        batches = []
        for start in range(0, len(shuffled), recipe.batch * SORTED):
            some = sorted(shuffled[start : start + recipe.batch * SORTED], key=lengths.__getitem__)
            batches += [some[first : first + recipe.batch] for first in range(0, len(some), recipe.batch)]
        chance.shuffle(batches)
        order += [index for batch in batches for index in batch]
    return order


def padding(lengths: Sequence[int], at_once: int, multiple: int) -> float:
    """The share of padding among the tokens of examples that are computed so many at once.

    Args:
        lengths: In tokens, in the order in which they are computed.
        at_once: How many, each as long as the longest of them.
        multiple: What that length is rounded up to a multiple of.
    """
    some = [lengths[first : first + at_once] for first in range(0, len(lengths), at_once)]
    computed = sum(len(each) * math.ceil(max(each) / multiple) * multiple for each in some)
    return round(1 - sum(lengths) / computed, 4)


def _config(recipe: Recipe, work: Path, every: int, *, warmup: int, on_gpu: bool, together: int) -> SFTConfig:
    """The trainer's settings: validated and kept every so many steps, each of so many processes together."""
    from trl.trainer.sft_config import SFTConfig  # noqa: PLC0415 - seconds

    share = recipe.batch // together
    at_once = next(size for size in range(min(recipe.at_once, share), 0, -1) if share % size == 0)
    config = SFTConfig(
        output_dir=str(work / "checkpoints"),
        num_train_epochs=1,  # the order of the examples holds all epochs
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=share // at_once,
        per_device_eval_batch_size=recipe.at_once,
        learning_rate=recipe.rate,
        lr_scheduler_type="cosine",
        warmup_steps=warmup,
        weight_decay=0.0,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        gradient_checkpointing=on_gpu,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # or a run that goes on forgets how patient it has been
        metric_for_best_model="eval_loss",
        logging_steps=5,
        include_num_input_tokens_seen="all",
        seed=recipe.seed,
        data_seed=recipe.seed,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
        ddp_find_unused_parameters=False,  # every matrix of the adapter is used in every step
        pad_to_multiple_of=None if on_gpu else PADDED,
    )
    # One process has one GPU, whatever the machine has: transformers would make a step as many times as large.
    config._n_gpu = min(config.n_gpu, 1)
    return config


def _loaded(base: Base, longest: int, *, on_gpu: bool) -> PreTrainedModel:
    """The model to train on examples of at most so many tokens."""
    if not on_gpu:
        model = base.load()
        if longest <= SHORT:
            model.set_attn_implementation("eager")
        return model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig  # noqa: PLC0415 - only where there is a GPU

    four_bits = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        base.source, quantization_config=four_bits, local_files_only=base.here
    )
    return loaded


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; what was broken off is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda each: int(each.name.rpartition("-")[2]))
    for checkpoint in reversed(found):
        try:
            json.loads((checkpoint / "trainer_state.json").read_bytes())
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
        else:
            return str(checkpoint)
    return None


def _out_of_patience(checkpoint: str, recipe: Recipe) -> tuple[TrainerState, str] | None:
    """The state of a checkpoint after which a run had ended early, and its best one's folder; None where it had not."""
    from transformers import TrainerState  # noqa: PLC0415 - seconds

    state = TrainerState.load_from_json(str(Path(checkpoint, "trainer_state.json")))
    told = state.stateful_callbacks.get("EarlyStoppingCallback", {}).get("attributes", {})
    if told.get("early_stopping_patience_counter", 0) < recipe.patience:
        return None
    return state, str(Path(checkpoint).with_name(Path(state.best_model_checkpoint or checkpoint).name))


def _callbacks(recipe: Recipe, told: Callable[[News], None]) -> list[TrainerCallback]:
    from transformers import EarlyStoppingCallback, TrainerCallback  # noqa: PLC0415 - seconds

    class Tell(TrainerCallback):
        """Passes the trainer's own log on."""

        began = 0.0
        read = 0

        def on_train_begin(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
            self.began, self.read = time.monotonic(), state.num_input_tokens_seen
            told(News(step=state.global_step, steps=state.max_steps))

        def on_log(self, args: object, state: TrainerState, control: object, **given: Any) -> None:  # noqa: ANN401
            give_back()
            logs: dict[str, float] = given["logs"]
            read = state.num_input_tokens_seen - self.read
            took = time.monotonic() - self.began
            told(
                News(
                    step=state.global_step,
                    steps=state.max_steps,
                    loss=logs.get("loss"),
                    validation=logs.get("eval_loss"),
                    tokens_per_s=read / took if read else None,
                )
            )

    return [EarlyStoppingCallback(recipe.patience), Tell()]
