"""`whylike evaluate ratings --exp3rt`: the pairs that EXP3RT's authors released, with their profiles as given.

There are no reviews and no times, so the pairs are split into folds by user: each fold is foretold by a calibrator that
was fitted on the others: on the averages, on where the two profiles meet (`meeting.py`) and on what the model says, as
far as these help. Least squares on the two averages that each row prints is the floor to get below.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from whylike.adapters.training.trainer import Recipe
from whylike.agents import dossier
from whylike.agents.calibration import GROUPS, Readout, readout
from whylike.agents.distributions import Floats
from whylike.agents.dossier import Dossier
from whylike.agents.standins import rated
from whylike.errors import UsageError
from whylike.evaluation.asking import at_once
from whylike.evaluation.calibrating import FEWEST, fit
from whylike.evaluation.figures import Figures, counted, figures
from whylike.evaluation.finetuning import Question, finetuned
from whylike.evaluation.machine import EngineSettings, Machine, engine_settings, machine
from whylike.evaluation.meeting import meetings
from whylike.evaluation.metrics import Error
from whylike.graph.pair import Services, explain_fully
from whylike.memory.importers import Kind, Levels, Reject, Source, read, recognise
from whylike.memory.importers.exp3rt import EXP3RT
from whylike.memory.splits import folds, sample
from whylike.preparing import Told
from whylike.records import Expert, History, Item, Profile, Rated, RatedPair, Side
from whylike.settings import Settings

PUBLISHED = {"MF": Error(rmse=1.953, mae=1.477), "EXP3RT": Error(rmse=1.912, mae=1.469)}
"""EXP3RT's own table for IMDB; its pairs are not known to be those of the released file."""
COUNTED = 10
"""Ratings that an average counts as, as in an explanation from imported profiles with the usual settings."""
FEW = 100
"""Pairs of a fold's fitting below which its figures say little."""


class Row(NamedTuple):
    """A pair as it is in the file, its ids made its own, so that each keeps the profiles that it came with."""

    user: str
    """Who it is really of."""
    item: Item
    profiles: tuple[Profile, Profile]
    rating: float


class Exp3rtEvaluation(Figures):
    """The document that `whylike evaluate ratings --exp3rt FILE --json` prints."""

    machine: Machine
    settings: EngineSettings
    seed: int
    file: str
    rejected: int = Field(description="Rows that could not be read")
    users: int
    folds: int
    fold_pairs: list[int] = Field(description="Pairs of each fold")
    with_reason: bool
    groups: list[tuple[str, ...]] = Field(description="What each fold's calibrator uses")
    published: dict[str, Error] = PUBLISHED
    notes: list[str]
    seconds_per_pair: float


def evaluate_exp3rt(
    services: Services,
    file: Path,
    *,
    count: int = 5,
    limit: int | None = None,
    seed: int = 0,
    with_reason: bool = True,
    finetune: Recipe | None = None,
    told: Told = lambda *_: None,
) -> Exp3rtEvaluation:
    """Foretell the ratings of a file in EXP3RT's shape.

    What is worked out is kept in a folder of the store of its own, so that a second run is quick.

    Args:
        services: The experts. Of the store's own pairs none is asked about.
        file: A JSON list, plain or gzip.
        count: Folds.
        limit: Most pairs; a sample of the file.
        seed: Seed of the sample, the folds and the bootstrap.
        with_reason: Whether the model is asked; otherwise the averages and the vectors of the profiles speak.
        finetune: How to train a Predictor for each fold on the others, which then answers, without reasons.
        told: Told of progress.

    Raises:
        InputError: The file is not of this shape.
        UsageError: It has too few pairs or users.
        EngineError: The model failed.
    """
    rows, rejected = rows_of(file)
    if limit is not None:
        rows = sample(rows, limit, seed)
    users = len({row.user for row in rows})
    parts = folds([row.user for row in rows], count, seed)
    fewest = len(rows) - max(map(len, parts), default=0)
    if users < count or fewest < FEWEST:
        raise UsageError(
            f"{file} has {len(rows):,} pairs of {users:,} users, too few for {count} folds by user of which the "
            f"others leave {FEWEST} pairs to fit on; give a smaller --folds or a larger file"
        )
    ran_on = machine()
    real = [row.rating for row in rows]
    began = time.perf_counter()
    if finetune:
        folder = _aside(services, file) / "folds"
        questions = [_question(row) for row in rows]
        answers = finetuned(services.settings, questions, parts, finetune, folder, told=told)
        known = [_plainly(row).model_copy(update={"heard": each}) for row, each in zip(rows, answers, strict=True)]
    else:
        known = _explained(services, file, rows, told) if with_reason else [_plainly(row) for row in rows]
    met = meetings([row.profiles for row in rows], services.embedder, told)
    known = [each.model_copy(update={"meeting": meeting}) for each, meeting in zip(known, met, strict=True)]
    seconds = (time.perf_counter() - began) / len(rows)
    # The mean of what the rows print of others, not of what is to be foretold.
    general = float(np.mean([average for each in known for average in _averages(each)]))
    known = [each.model_copy(update={"general": general}) for each in known]
    inputs = np.array([[*_averages(each), 1.0] for each in known])
    squares = np.empty(len(rows))
    fitted = {}
    for number, out in enumerate(parts):
        rest = sorted(set(range(len(rows))) - set(out))
        given = [real[row] for row in rest]
        squares[out] = inputs[out] @ _least_squares(inputs[rest], np.array(given))
        own = fit(
            [known[row] for row in rest],
            given,
            counted(given, EXP3RT.scale),
            groups=tuple(GROUPS),
            owners=[rows[row].user for row in rest],
        )
        fitted.update(dict.fromkeys(out, (number, own)))
    others = {
        "global": [general] * len(rows),
        "user_mean": list(inputs[:, 0]),
        "item_mean": list(inputs[:, 1]),
        "bias": [each.bias for each in known],
        "least_squares": list(np.clip(squares, EXP3RT.scale.minimum, EXP3RT.scale.maximum)),
    }
    found = figures(
        known,
        real,
        [fitted[row][1] for row in range(len(rows))],
        others,
        users=[row.user for row in rows],
        slices={},
        seed=seed,
    )
    notes = [
        "Every row counts its averages as of the same number of ratings: the file does not say of how many.",
        "The published models had not seen these pairs; each calibrator was fitted on the other folds of the file.",
    ]
    if finetune:
        notes.append(
            f"For each fold a Predictor was taught on the others ({finetune.epochs} epochs at rate {finetune.rate:g}); "
            "computed by transformers it answered without reasons. A fold's calibrator is fitted on such answers to "
            "the other folds, by Predictors that were taught on this one too. The seconds are with the training."
        )
    elif services.predictor.taught and services.store.rated_pairs(f"exp3rt:{file.name}"):
        notes.append("Pairs of a file of this name are in the store: the Predictor may have learned from these pairs.")
    if fewest < FEW:
        notes.append(f"The folds are small: a calibrator is fitted on {fewest} pairs, so these figures say little.")
    return Exp3rtEvaluation(
        **dict(found.model_copy(update={"by_history": []})),
        machine=ran_on,
        settings=engine_settings(services.settings, services.engine),
        seed=seed,
        file=file.name,
        rejected=rejected,
        users=users,
        folds=count,
        fold_pairs=[len(part) for part in parts],
        with_reason=with_reason and not finetune,
        groups=list({number: own.groups for number, own in fitted.values()}.values()),
        notes=notes,
        seconds_per_pair=round(seconds, 3),
    )


def rows_of(file: Path) -> tuple[list[Row], int]:
    """The pairs of a file that can be read, and how many rows cannot. Raises `InputError`."""
    rows, rejected = [], 0
    recognised = recognise(file, Kind.REVIEWS, EXP3RT.name)
    with Source(file) as source:
        for number, parsed in enumerate(read(recognised, source, Levels(EXP3RT.scale))):
            if isinstance(parsed, Reject):
                rejected += 1
                continue
            (item,) = (each for each in parsed if isinstance(each, Item))
            (pair,) = (each for each in parsed if isinstance(each, RatedPair))
            user_side, item_side = (
                next(each for each in parsed if isinstance(each, Profile) and each.side is side) for side in Side
            )
            own = f"row {number}"
            rows.append(
                Row(
                    user=pair.user_id,
                    item=item.model_copy(update={"item_id": own}),
                    profiles=(
                        user_side.model_copy(update={"subject_id": own}),
                        item_side.model_copy(update={"subject_id": own}),
                    ),
                    rating=pair.rating,
                )
            )
    return rows, rejected


def _explained(services: Services, file: Path, rows: Sequence[Row], told: Told) -> list[Readout]:
    """What the rows' ratings are made from, the model's answers among it."""
    own = {"store": _aside(services, file), "database_url": None, "chroma_url": None}
    settings = Settings.model_construct(**{**services.settings.model_dump(), **own})
    with Services.open(settings, engine=services.engine) as opened:
        # The Predictor of the caller's store, whose registry knows what scales it was taught.
        aside = replace(opened, predictor=services.predictor)
        aside.store.add_rated_pairs(
            [
                RatedPair(user_id=row.item.item_id, item_id=row.item.item_id, rating=row.rating, source="")
                for row in rows
            ],
            scale=EXP3RT.scale,
        )
        aside.store.add_items([row.item for row in rows])
        aside.store.add_profiles([profile for row in rows for profile in row.profiles])

        def ask(row: Row) -> Readout:
            return explain_fully(aside, row.item.item_id, row.item.item_id)[1]

        with services.query():
            return at_once(ask, rows, "asking about the file's pairs", told)


def _aside(services: Services, file: Path) -> Path:
    """The folder of what is worked out of a file."""
    return services.settings.store / "exp3rt" / hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _averaged(row: Row) -> History:
    """The averages that a row prints."""
    nobody = History(user_id="", item_id=row.item.item_id, before=0)
    return rated(nobody, {profile.side: profile for profile in row.profiles}, COUNTED)


def _plainly(row: Row) -> Readout:
    """What a row's rating is made from without the model."""
    return readout(_averaged(row), Rated(), EXP3RT.scale)


def _question(row: Row) -> Question:
    """A row as a taught Predictor is asked about it, without a reason."""
    known = Dossier(
        _averaged(row),
        titles={row.item.item_id: row.item.title},
        profiles={profile.side: profile for profile in row.profiles},
    )
    asked = dossier.request(Expert.PREDICTOR, known, EXP3RT.scale, None)
    return Question(asked, dossier.label(row.rating, EXP3RT.scale), row.user)


def _averages(known: Readout) -> tuple[float, float]:
    """The averages that the row prints; the middle of the scale where it prints none."""
    middle = (known.scale.minimum + known.scale.maximum) / 2
    return (
        middle if known.user.average is None else known.user.average,
        middle if known.item.average is None else known.item.average,
    )


def _least_squares(inputs: Floats, given: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(inputs, given, rcond=None)[0], dtype=np.float64)
