"""The process that `whylike bench engines` measures one engine in: it opens it, times it once and ends.

`python -m whylike.evaluation.engine_child JOB` reads `JOB`, a JSON document with `settings`, `adapters` by
expert, and whether it is the `yardstick` that is measured, and writes `{"result": ...}` or `{"error": ...}` to standard
output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from whylike.adapters.engines.base import Adapter, Message, Prompt, Weighed, Weighing, Writing, Written
from whylike.errors import WhylikeError
from whylike.evaluation.ingest_child import peak_mib
from whylike.evaluation.measured import opened
from whylike.records import Expert
from whylike.settings import Settings

EXPERTS = (Expert.REASONER, Expert.SUMMARIZER, Expert.PREDICTOR)
"""The first writes where one adapter is active; all take turns where they are mixed."""
BARE = Expert.REWARD
"""Of the experts the one without an adapter here."""
REQUESTS = (1, 4, 16)
"""Requests at once."""
LONG = 900
"""Words, about as many tokens, of the prompt whose reading is timed alone."""
SHORT = 220
"""Words of each prompt where there are several."""
WRITTEN = 33
"""Tokens of a text: the first comes of reading the prompt and is not counted as decoding."""
OTHERS = 5000
"""Number of the first text that is read only to be timed."""
ITEMS = 20
"""Items that are scored for one user."""
WORDS = ("warm", "sound", "strap", "broke", "quickly", "lovely", "voice", "cheap", "case", "never", "again", "slow")


class Measured(Protocol):
    """What is measured: the part of an engine that answers."""

    def write(self, requests: Sequence[Writing]) -> list[Written]:
        """As an engine does."""
        ...

    def weigh(self, requests: Sequence[Weighing]) -> list[Weighed]:
        """As an engine does."""
        ...


def measure(
    engine: Measured, began: float, peak: Callable[[], float] = peak_mib, *, adapters: bool = True
) -> dict[str, object]:
    """Time everything once.

    Args:
        engine: What is measured.
        began: When opening it began, by `time.perf_counter`.
        peak: Tells the most memory that it has taken, MiB.
        adapters: Whether it has any that could be mixed.
    """
    engine.write([writing(0, 5, 1)])
    start = time.perf_counter() - began
    for expert in EXPERTS:  # what is made or loaded at an adapter's first use is no part of the times
        engine.write([writing(0, 5, 2, expert)])
    prefill, decode = {}, {}
    for count in REQUESTS:
        words = LONG if count == 1 else SHORT
        seconds, answers = _timed(engine, [writing(10 * count + row, words, 1) for row in range(count)])
        prefill[str(count)] = sum(answer.prompt_tokens for answer in answers) / seconds
        decode[str(count)] = _decoding(engine, range(100 * count, 101 * count))
    many = REQUESTS[-1]
    seconds, _ = _timed(engine, [writing(700, SHORT, 1)])
    together, separate = _scoring(engine)
    memory = peak()
    # Last, since the bare model takes memory that an answer does not need; and not at its first use either.
    engine.write([writing(0, 5, 2, BARE)])
    bare = _decoding(engine, range(900, 900 + many), [BARE])
    return {
        "prefill_tokens_per_s": prefill,
        "decode_tokens_per_s": decode,
        "mixed_decode_tokens_per_s": _decoding(engine, range(800, 800 + many), EXPERTS) if adapters else None,
        "first_token_s": seconds,
        "ratings_per_s": ITEMS / together,
        "scoring_share": together / separate,
        "peak_mib": memory,
        "start_s": start,
        "base_decode_tokens_per_s": bare,
    }


def writing(number: int, words: int, tokens: int, expert: Expert = EXPERTS[0]) -> Writing:
    """A request for text about an invented review, another for each number."""
    turns = (
        Message(role="system", content=f"You tell story {number}."),
        Message(role="user", content=_text(number, words)),
    )
    return Writing(expert=expert, prompt=Prompt(messages=turns), max_tokens=tokens)


def _text(number: int, words: int) -> str:
    return " ".join(WORDS[(number * 7 + place * (1 + place // len(WORDS))) % len(WORDS)] for place in range(words))


def _timed(engine: Measured, requests: Sequence[Writing]) -> tuple[float, list[Written]]:
    began = time.perf_counter()
    answers = engine.write(requests)
    return time.perf_counter() - began, answers


def _decoding(engine: Measured, rows: Sequence[int], experts: Sequence[Expert] = EXPERTS[:1]) -> float:
    """Tokens a second once the prompts are read: the time that other prompts of that length take is taken off.

    Other ones, since an engine may keep what it has read.
    """
    asked = [(row, experts[place % len(experts)]) for place, row in enumerate(rows)]
    whole, answers = _timed(engine, [writing(row, SHORT, WRITTEN, expert) for row, expert in asked])
    reading, _ = _timed(engine, [writing(OTHERS + row, SHORT, 1, expert) for row, expert in asked])
    return (sum(answer.tokens for answer in answers) - len(answers)) / max(whole - reading, 1e-3)


def _scoring(engine: Measured) -> tuple[float, float]:
    """Seconds for one user's rating of `ITEMS` items: in one call that says what they share, and one by one."""

    def asked(number: int, shared: int) -> Weighing:
        turns = (
            Message(role="system", content=_text(shared, 2 * SHORT)),
            Message(role="user", content=_text(number, 25)),
        )
        prompt = Prompt(messages=turns, prefill="Rating: ", shared=shared)
        return Weighing(expert=Expert.PREDICTOR, prompt=prompt, labels=tuple("12345"))

    def timed(call: Callable[[], object]) -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    together = timed(lambda: engine.weigh([asked(number, 1) for number in range(ITEMS)]))
    return together, timed(lambda: [engine.weigh([asked(number, 0)]) for number in range(ITEMS)])


def main(job: Path) -> int:
    """Measure what the file `job` describes. Returns the exit status."""
    began = time.perf_counter()
    described = json.loads(job.read_text(encoding="utf-8"))
    settings = Settings(**described["settings"])
    try:
        if described["yardstick"]:
            # What it imports is part of its start, and no part of that of the others.
            from whylike.evaluation.llama import LlamaCpp  # noqa: PLC0415

            with closing(LlamaCpp(settings)) as yardstick:
                told: dict[str, object] = {"result": measure(yardstick, began, adapters=False)}
        else:
            adapters = {Expert(expert): Adapter(**adapter) for expert, adapter in described["adapters"].items()}
            with opened(settings, adapters) as (engine, peak):
                told = {"result": measure(engine, began, peak)}
    except WhylikeError as error:
        told = {"error": str(error)}
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
