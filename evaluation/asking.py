"""Pairs that are asked about: what is known of each, and what its rating is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import NamedTuple, TypeVar

import numpy as np

from whylike.agents.calibration import Calibrator, Readout, readout
from whylike.agents.distributions import Floats
from whylike.graph import together
from whylike.graph.pair import Services, explain_fully
from whylike.memory.history import general, history
from whylike.memory.splits import Pair
from whylike.preparing import Told

Q = TypeVar("Q")
A = TypeVar("A")


class Asked(NamedTuple):
    """A pair, the reading of it, and the reason that it was read with."""

    pair: Pair
    known: Readout
    reason: str | None


def at_once(ask: Callable[[Q], A], asked: Sequence[Q], what: str, told: Told) -> list[A]:
    """The answers to some questions, in order; some are asked at once, so that the engine has batches."""
    with closing(together.at_once(ask, asked)) as given:
        return _counted(given, len(asked), what, told)


def in_turn(ask: Callable[[Q], A], asked: Sequence[Q], what: str, told: Told) -> list[A]:
    """The same, one by one, for questions to the store alone: threads would wait for one another all the time."""
    return _counted(map(ask, asked), len(asked), what, told)


def _counted(given: Iterable[A], count: int, what: str, told: Told) -> list[A]:
    answers: list[A] = []
    told(what, 0, count)
    for answer in given:
        answers.append(answer)
        told(what, len(answers), count)
    return answers


def explained(services: Services, pair: Pair) -> Asked:
    """A pair through the graph that serves, as of just before its review. Raises `EngineError`."""
    answer, known = explain_fully(services, pair.user_id, pair.item_id, as_of=pair.timestamp)
    return Asked(pair, known, answer.reason.text if answer.reason else None)


def unexplained(services: Services, pair: Pair) -> Asked:
    """What the averages alone say, as an explanation without a reason has it."""
    known = history(services.store, pair.user_id, pair.item_id, pair.timestamp, services.settings.history)
    everything = general(services.store, pair.user_id, pair.item_id, pair.timestamp)
    return Asked(pair, readout(known, everything, services.store.scale), None)


def expectations(known: Sequence[Readout], calibrator: Calibrator) -> list[float]:
    """What a calibrator makes of each pair, on its scale."""
    return [float(calibrator.distribution(each) @ np.array(each.scale.values)) for each in known]


def model_alone(known: Sequence[Readout]) -> list[float]:
    """The mean of what the model alone says of each pair."""
    return [float(raw(each) @ np.array(each.scale.values)) for each in known]


def raw(known: Readout) -> Floats:
    """What the model alone answers; where it was not asked, what the averages alone do."""
    return np.array(known.heard.probabilities) if known.heard else known.spoken(0.0)


def at(values: Sequence[Q], rows: Sequence[int]) -> list[Q]:
    """The values in some rows."""
    return [values[row] for row in rows]
