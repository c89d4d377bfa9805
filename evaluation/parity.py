"""Whether the engines say what the reference says: transformers and PEFT in fp32, on real reviews."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import Field

from whylike.adapters.engines.base import Engine
from whylike.adapters.engines.local import LocalEngine
from whylike.evaluation.apprentices import TAUGHT, Sample, apart, sample, train, weighing, writing
from whylike.evaluation.machine import Machine, machine
from whylike.evaluation.measured import REFERENCE, measurable, opened
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Expert, Record
from whylike.settings import Settings

EXACT = "reference fp32"
"""What the others are compared with."""
TOKENS = 24
"""Most tokens of a text that is compared."""
TRAINED_ON = 64
"""Reviews that the adapters are trained on; others are asked about."""


class Parity(Record):
    """How near an engine comes to the reference in fp32, and to itself."""

    expectation_difference: float = Field(description="Of rating expectations, mean of the absolute values")
    largest_difference: float = Field(description="The largest of them")
    same_texts: float = Field(description="Share of greedy texts that are the same to the letter")
    company: float = Field(
        description="The most that a label's log-odds move when a request is answered beside others rather than alone"
    )


class ParityBench(Record):
    """The document that `whylike bench parity --json` prints."""

    machine: Machine
    model: str
    seed: int
    prompts: int
    steps: int = Field(description="Training steps of each adapter")
    experts: tuple[Expert, ...]
    engines: dict[str, Parity]


class Answers(Record):
    """What an engine said to all requests."""

    together: list[tuple[float, ...]]
    alone: list[tuple[float, ...]]
    texts: list[str]


def bench_parity(
    settings: Settings, store: Store, prompts: int, *, steps: int, seed: int, told: Told = lambda *_: None
) -> ParityBench:
    """Train an adapter for each expert a little, ask all engines about the same reviews, and compare.

    Args:
        settings: The base model and the machine.
        store: Where reviews come from.
        prompts: Reviews that are asked about, each of one of the three experts.
        steps: Training steps of each adapter.
        seed: Seed of the choice of reviews.
        told: Told of progress: the step, how much of it is done, and how much there is.

    Raises:
        UsageError: The store has too few reviews.
        EngineError: An engine failed.
    """
    import torch  # noqa: PLC0415 - after the engines' own settings for it

    rows = sample(store, prompts + TRAINED_ON, seed)
    ran_on = machine()
    with TemporaryDirectory(prefix="whylike-parity-") as folder:
        adapters = train(settings, rows[prompts:], steps, Path(folder), told)
        answers = {}
        own = apart(settings, Path(folder) / "cache")
        exactly = LocalEngine(own.model_copy(update={"engine": REFERENCE}), adapters, dtype=torch.float32)
        with closing(exactly) as engine:
            answers[EXACT] = ask(engine, rows[:prompts], partial(_tell, told, EXACT))
        for name in measurable(settings):  # one after the other, so that no two are in memory
            with opened(own.model_copy(update={"engine": name}), adapters) as (engine, _):
                answers[name] = ask(engine, rows[:prompts], partial(_tell, told, name))
    exact = answers.pop(EXACT)
    return ParityBench(
        machine=ran_on,
        model=settings.model,
        seed=seed,
        prompts=prompts,
        steps=steps,
        experts=TAUGHT,
        engines={name: parity(answer, exact) for name, answer in answers.items()},
    )


def _tell(told: Told, name: str, done: int) -> None:
    told(f"asking {name}", done, 2)


def ask(engine: Engine, rows: Sequence[Sample], told: Callable[[int], None]) -> Answers:
    """Ask of each review, of the experts in turn: the rating, in company and alone, and a text."""
    turns = [(TAUGHT[number % len(TAUGHT)], row) for number, row in enumerate(rows)]
    ratings = [weighing(expert, row) for expert, row in turns]
    together = [weighed.probabilities for weighed in engine.weigh(ratings)]
    alone = [engine.weigh([rating])[0].probabilities for rating in ratings]
    told(1)
    texts = [written.text for written in engine.write([writing(expert, row, TOKENS) for expert, row in turns])]
    told(2)
    return Answers(together=together, alone=alone, texts=texts)


def parity(found: Answers, exact: Answers) -> Parity:
    """The figures of an engine's answers beside the exact ones."""
    labels = np.arange(1, 6)
    off = np.abs(np.array(found.alone) @ labels - np.array(exact.alone) @ labels)
    odds = [np.log(np.array(kind) / (1 - np.array(kind))) for kind in (found.alone, found.together)]
    same = [one == other for one, other in zip(found.texts, exact.texts, strict=True)]
    return Parity(
        expectation_difference=round(float(off.mean()), 5),
        largest_difference=round(float(off.max()), 5),
        same_texts=round(sum(same) / len(same), 4),
        company=round(float(np.abs(odds[0] - odds[1]).max()), 5),
    )
