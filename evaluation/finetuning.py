"""`whylike evaluate ratings --exp3rt FILE --finetune`: a Predictor taught on the other folds answers for each fold."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from whylike.adapters.engines import open_engine
from whylike.adapters.engines.base import Adapter, Weighing
from whylike.adapters.engines.model import device, find_base
from whylike.adapters.registry.identity import base_fingerprint, fingerprint
from whylike.adapters.training.examples import Example, hash_of, place
from whylike.adapters.training.teach import VALIDATION
from whylike.adapters.training.trainer import News, Recipe, environment, train
from whylike.agents.calibration import Heard
from whylike.agents.recipe import digest
from whylike.preparing import Told
from whylike.records import Expert
from whylike.settings import Settings

AT_ONCE = 32
"""Pairs of a fold that an engine is asked about in one call."""


class Question(NamedTuple):
    """A pair as a taught Predictor is asked about it, and what there is to learn from it."""

    asked: Weighing
    label: str
    """Of the rating that was given."""
    user: str


def finetuned(
    settings: Settings,
    questions: Sequence[Question],
    folds: Sequence[Sequence[int]],
    recipe: Recipe,
    folder: Path,
    *,
    told: Told = lambda *_: None,
) -> list[Heard]:
    """What a Predictor that was taught on the other folds answers to each question.

    Args:
        settings: The base model.
        questions: Of all pairs.
        folds: Positions of the questions, all of one user in the same fold.
        recipe: How each is trained.
        folder: Where the adapters are made and kept, so that a run that was killed goes on, and a second one is quick.
        told: Told of progress.

    Raises:
        UsageError: A fold leaves too few pairs to learn from.
        EngineError: The base model cannot be loaded, or the model failed.
    """
    answers: dict[int, Heard] = {}
    for number, out in enumerate(folds):
        rest = sorted(set(range(len(questions))) - set(out))
        examples = [
            Example(prompt=each.asked.prompt, answer=each.label, group=each.user)
            for each in (questions[row] for row in rest)
        ]
        adapter = _adapter(settings, examples, recipe, folder, partial(told, f"training for fold {number + 1}"))
        # Of an adapter that answers for one fold no graph is worth making.
        engine = "scripted" if settings.engine == "scripted" else "reference"
        with closing(
            open_engine(settings.model_copy(update={"engine": engine}), {Expert.PREDICTOR: adapter})
        ) as opened:
            for start in range(0, len(out), AT_ONCE):
                some = out[start : start + AT_ONCE]
                weighed = opened.weigh([questions[row].asked for row in some])
                answers |= {
                    row: Heard(probabilities=each.probabilities) for row, each in zip(some, weighed, strict=True)
                }
                told(f"asking about fold {number + 1}", start + len(some), len(out))
    return [answers[row] for row in range(len(questions))]


def _adapter(settings: Settings, examples: list[Example], recipe: Recipe, folder: Path, told: partial[None]) -> Adapter:
    """The adapter for some examples, from the folder if it is there."""
    made_of = [
        base_fingerprint(settings),
        recipe.model_dump(mode="json"),
        environment(device(settings.device)),
        hash_of(examples),
    ]
    own = folder / digest(made_of)[:16]
    work = own.with_name(f"{own.name}-unfinished")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(own.with_suffix(".lock")):
        if not own.exists():
            _train(settings, examples, recipe, work, told).rename(own)
        shutil.rmtree(work, ignore_errors=True)
    return Adapter(version=f"predictor-{fingerprint(own)[:8]}", folder=own)


def _train(settings: Settings, examples: list[Example], recipe: Recipe, work: Path, told: partial[None]) -> Path:
    """The folder of an adapter that learned the examples, those of some users but for validation."""
    users = sorted({each.group for each in examples}, key=lambda user: place(user, 1 + recipe.seed))
    checked = set(users[: max(round(VALIDATION * len(users)), 1)])
    taken, validation = ([each for each in examples if (each.group in checked) is side] for side in (False, True))

    def heard(news: News) -> None:
        told(news.step, news.steps)

    target = device(settings.device)
    return train(find_base(settings), taken, validation, recipe, work, target=target, told=heard).folder
