"""Errors of predictions, the interval of a difference, and what a benchmark says that it ran on."""

from __future__ import annotations

import numpy as np
import pytest

from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.evaluation.ingesting import latency
from whylike.evaluation.machine import engine_settings, machine
from whylike.evaluation.metrics import FEW, Difference, difference, error
from whylike.records import Expert
from whylike.settings import Settings

REAL = [1.0, 2.0, 5.0, 4.0]


def test_errors_are_those_worked_out_by_hand() -> None:
    off = error([1, 4, 5, 3], REAL)
    assert off.rmse == pytest.approx(np.sqrt(5 / 4), abs=1e-4)
    assert off.mae == 0.75
    assert error(REAL, REAL).rmse == 0


def test_the_same_prediction_makes_no_difference() -> None:
    assert difference([3] * 8, [3] * 8, REAL * 2, seed=0) == Difference(rmse=0, low=0, high=0)


def test_a_better_prediction_is_below_zero_with_all_of_its_interval() -> None:
    rng = np.random.default_rng(0)
    real = rng.uniform(1, 5, 300)
    near, far = real + rng.normal(0, 0.2, 300), real + rng.normal(0, 1.0, 300)
    found = difference(near.tolist(), far.tolist(), real.tolist(), seed=0)
    assert found.low < found.rmse < found.high < 0
    assert found.rmse == pytest.approx(-0.8, abs=0.1)


def test_a_difference_by_chance_has_zero_in_its_interval() -> None:
    rng = np.random.default_rng(1)
    real = rng.uniform(1, 5, 300)
    one, other = (real + rng.normal(0, 1.0, 300) for _ in range(2))
    found = difference(one.tolist(), other.tolist(), real.tolist(), seed=0)
    assert found.low < 0 < found.high
    assert found == difference(one.tolist(), other.tolist(), real.tolist(), seed=0)


def test_ratings_of_one_user_are_no_independent_ones() -> None:
    rng = np.random.default_rng(2)
    real = np.repeat(rng.uniform(1, 5, 30), 10)
    one, other = (real + np.repeat(rng.normal(0, off, 30), 10) for off in (0.8, 1.0))
    users = np.repeat([f"u{number}" for number in range(30)], 10).tolist()
    told = one.tolist(), other.tolist(), real.tolist()
    alone, together = difference(*told, seed=0), difference(*told, seed=0, users=users)
    assert together.rmse == alone.rmse
    assert together.high - together.low > 2 * (alone.high - alone.low)
    each_by_itself = [str(number) for number in range(300)]
    assert difference(*told, seed=0, users=each_by_itself).high == pytest.approx(alone.high, abs=0.03)


def test_of_few_users_no_interval_is_told() -> None:
    told = [4.0] * 20, [3.0] * 20, [float(3 + number % 2) for number in range(20)]
    for count, interval in ((FEW - 1, "too few users"), (FEW, "+0.0000 to +0.0000")):
        found = difference(*told, seed=0, users=[f"u{number % count}" for number in range(20)])
        assert found.rmse == 0
        assert found.between(4) == interval


def test_latency_is_in_milliseconds() -> None:
    took = latency([n / 1000 for n in range(1, 101)])
    assert (took.lookups, took.median_ms, took.max_ms) == (100, 50.5, 100)
    assert 95 <= took.p95_ms <= 96


def test_what_a_benchmark_ran_on() -> None:
    here = machine()
    assert here.cores >= 1
    assert here.memory_mib > 100
    assert here.processor
    ran = engine_settings(
        Settings(engine="scripted", database_url="postgresql://ann:secret@there/db"), ScriptedEngine()
    )
    assert ran.engine == "scripted"
    assert set(ran.adapters) == set(Expert)
    assert "secret" not in ran.model_dump_json()
