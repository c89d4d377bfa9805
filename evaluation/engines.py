"""How fast the engines are on this machine: the same prompts, in a process for each, in turns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from pydantic import Field

from whylike.errors import EngineError
from whylike.evaluation import llama
from whylike.evaluation.apprentices import apart, train
from whylike.evaluation.engine_child import writing
from whylike.evaluation.machine import Machine, machine
from whylike.evaluation.measured import REFERENCE, measurable, opened
from whylike.preparing import Told
from whylike.records import Record
from whylike.settings import Settings


class Speed(Record):
    """What an engine does with an adapter active; medians over the rounds. llama.cpp has the base model only."""

    prefill_tokens_per_s: dict[str, float] = Field(description="By requests at once; one is a long prompt")
    decode_tokens_per_s: dict[str, float] = Field(description="By requests at once, all together")
    mixed_decode_tokens_per_s: float | None = Field(description="16 requests of three adapters, where there are any")
    base_decode_tokens_per_s: float = Field(description="16 requests of the base model, without an adapter")
    first_token_s: float
    ratings_per_s: float = Field(description="Items scored for one user, their shared beginning marked")
    scoring_share: float = Field(description="Time of scoring 20 items so, of the time of 20 separate calls")
    peak_mib: float
    start_s: float = Field(description="From nothing to the first token; what is converted once is there")


class EnginesBench(Record):
    """The document that `whylike bench engines --json` prints."""

    machine: Machine
    model: str
    rounds: int
    engines: dict[str, Speed]
    ratios_to_reference: dict[str, Speed] = Field(description="Each figure by the reference's")


def bench_engines(settings: Settings, rounds: int, told: Told = lambda *_: None) -> EnginesBench:
    """Measure each engine `rounds` times, in turns, so that a busy minute hurts none alone.

    Raises `EngineError` where an engine fails.
    """
    ran_on = machine()
    names = (*measurable(settings), *((llama.NAME,) if llama.present(settings) else ()))
    found: dict[str, list[Speed]] = {name: [] for name in names}
    with TemporaryDirectory(prefix="whylike-engines-") as folder:
        # Untrained adapters cost as much as trained ones.
        adapters = train(settings, [], 0, Path(folder), told)
        own, jobs = apart(settings, Path(folder) / "cache"), {}
        for name in names:
            chosen = own if name == llama.NAME else own.model_copy(update={"engine": name})
            if name == "local":
                told(f"preparing {name}", 0, 0)
                with opened(chosen, adapters) as (engine, _):  # what is converted once is no part of a round
                    engine.write([writing(0, 5, 1, expert) for expert in adapters])
            jobs[name] = Path(folder) / f"{name}.json"
            document = {
                "settings": json.loads(chosen.model_dump_json()),
                "yardstick": name == llama.NAME,
                "adapters": {expert: adapter.model_dump(mode="json") for expert, adapter in adapters.items()},
            }
            jobs[name].write_text(json.dumps(document), encoding="utf-8")
        total = rounds * len(names)
        for turn in range(total):
            name = names[turn % len(names)]
            told(f"measuring {name}", turn, total)
            found[name].append(_run(jobs[name]))
        told("measuring", total, total)
    engines = {name: _combined(speeds, median) for name, speeds in found.items()}
    ratios = {
        name: _combined([speed, engines[REFERENCE]], lambda pair: pair[0] / pair[1])
        for name, speed in engines.items()
        if name != REFERENCE
    }
    return EnginesBench(
        machine=ran_on, model=settings.model, rounds=rounds, engines=engines, ratios_to_reference=ratios
    )


def _run(job: Path) -> Speed:
    """Run the measured process and return its result."""
    command = [sys.executable, "-m", "whylike.evaluation.engine_child", str(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - this very package
    lines = done.stdout.splitlines()
    if not lines:
        raise EngineError(f"the measured process ended with status {done.returncode}; what it said stands above")
    news = json.loads(lines[-1])
    if "error" in news:
        raise EngineError(news["error"])
    return Speed(**news["result"])


def _combined(speeds: Sequence[Speed], way: Callable[[list[float]], float]) -> Speed:
    """One figure for each of several, to four digits."""

    def combine(values: list[float | None]) -> float | None:
        there = [value for value in values if value is not None]
        return float(f"{way(there):.4g}") if len(there) == len(values) else None

    figures: dict[str, object] = {}
    for name in Speed.model_fields:
        values = [getattr(speed, name) for speed in speeds]
        if isinstance(values[0], dict):
            figures[name] = {key: combine([value[key] for value in values]) for key in values[0]}
        else:
            figures[name] = combine(values)
    return Speed(**figures)
