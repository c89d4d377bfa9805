"""The speed and parity benchmarks: figures by hand, and both run for real on a tiny model."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from random_model import random_model
from rich.console import Console

from whylike.adapters.engines import open_engine
from whylike.adapters.engines.base import Message, Prompt, Weighing, Writing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.bench_cli import engines_card
from whylike.errors import UsageError
from whylike.evaluation import engine_child
from whylike.evaluation.apprentices import TAUGHT, sample
from whylike.evaluation.engines import EnginesBench, Speed, _combined, bench_engines
from whylike.evaluation.llama import LlamaCpp, present
from whylike.evaluation.machine import machine
from whylike.evaluation.parity import Answers, bench_parity, parity
from whylike.memory.store import Store
from whylike.records import Expert, Review
from whylike.settings import Settings


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Settings(store=tmp_path / "store")) as opened:
        yield opened


def add(store: Store, count: int, words: int) -> None:
    store.add_reviews(
        Review(
            review_id=f"{words}-{number}",
            user_id=f"u{number}",
            item_id="i",
            rating=1 + number % 5,
            text=f"It is number {number}. " * (words // 4),
            timestamp=number,
        )
        for number in range(count)
    )


def test_only_reviews_of_some_length_are_drawn_and_too_few_are_refused(store: Store):
    add(store, 30, 4)
    add(store, 12, 24)
    drawn = sample(store, 10, 0)
    assert drawn == sample(store, 10, 0) != sample(store, 10, 1)
    assert all(len(row.text.split()) >= 20 for row in drawn)
    with pytest.raises(UsageError, match="has 12 reviews of 20 words or more, and 13 are needed"):
        sample(store, 13, 0)


def test_parity_is_worked_out_by_hand():
    exact = Answers(together=[], alone=[(1, 0, 0, 0, 0), (0.2,) * 5], texts=["a", "b"])
    half = (0.5, 0.125, 0.125, 0.125, 0.125)
    other = (0.6, 0.1, 0.1, 0.1, 0.1)
    found = parity(Answers(together=[half, other], alone=[half, half], texts=["a", "c"]), exact)
    # The expectation of `half` is 0.5 + 0.125 * 14 = 2.25; the exact ones are 1 and 3.
    assert (found.expectation_difference, found.largest_difference) == (1.0, 1.25)
    assert found.same_texts == 0.5
    assert found.company == pytest.approx(0.40547, abs=1e-5), "log(0.6 / 0.4) from log(0.5 / 0.5)"


def speed(value: float) -> Speed:
    figures = dict.fromkeys(Speed.model_fields, value)
    return Speed(
        **{**figures, "prefill_tokens_per_s": {"1": value}, "decode_tokens_per_s": {"1": value, "4": 2 * value}}
    )


def test_figures_are_combined_one_by_one():
    found = _combined([speed(1), speed(2), speed(9)], lambda values: sorted(values)[1])
    assert found == speed(2)
    assert _combined([speed(3), speed(2)], lambda pair: pair[0] / pair[1]).decode_tokens_per_s == {"1": 1.5, "4": 1.5}


def test_every_figure_can_be_read_on_eighty_columns():
    engines = {name: speed(1234.5) for name in ("reference", "local", "vllm", "llama.cpp")}
    engines["llama.cpp"] = engines["llama.cpp"].model_copy(update={"mixed_decode_tokens_per_s": None})
    ratios = {name: speed(0.987) for name in list(engines)[1:]}
    bench = EnginesBench(machine=machine(), model="m", rounds=3, engines=engines, ratios_to_reference=ratios)
    console = Console(file=io.StringIO(), width=80)
    console.print(engines_card(bench))
    shown = console.file.getvalue()
    assert "…" not in shown
    mixed, other_mixed = (line.split() for line in shown.splitlines() if "mixed" in line)
    assert mixed == ["mixed", "decode", "tokens/s", "1,234", "1,234", "1,234"]
    assert other_mixed[-3:] == ["0.987"] * 3
    assert all(name in shown for name in engines)


def test_what_is_measured_of_an_engine_is_what_the_document_holds():
    found = engine_child.measure(ScriptedEngine(), 0.0)
    assert Speed(**found).prefill_tokens_per_s.keys() == {"1", "4", "16"}
    assert len({engine_child.writing(number, 30, 1).prompt.messages[1].content for number in range(12)}) == 12


def test_what_cannot_be_measured_has_no_figure_and_no_ratio():
    bare = speed(2).model_copy(update={"mixed_decode_tokens_per_s": None})
    ratio = _combined([bare, speed(4)], lambda pair: pair[0] / pair[1])
    assert (ratio.mixed_decode_tokens_per_s, ratio.base_decode_tokens_per_s) == (None, 0.5)


def test_the_yardstick_is_there_for_the_packaged_model_only(tmp_path: Path):
    assert present(Settings())
    assert not present(Settings(model=str(tmp_path)))


@pytest.mark.model
def test_the_yardstick_answers_as_the_packaged_model_does():
    """In four bits as they come, so the likeliest answers are the same and their shares are near."""
    said = ("Water is", "The sky is blue and the grass is", "She wrote one, two, three,")
    turns = [Prompt(messages=(Message(role="user", content="Go on."),), prefill=start) for start in said]
    asked = [Weighing(expert=Expert.PREDICTOR, prompt=turn, labels=(" a", " green", " four")) for turn in turns]
    settings = Settings(device="cpu")
    with closing(LlamaCpp(settings)) as yardstick, closing(open_engine(settings, {})) as engine:
        texts = yardstick.write([Writing(expert=Expert.REASONER, prompt=turn, max_tokens=4) for turn in turns])
        theirs, ours = yardstick.weigh(asked), engine.weigh(asked)
        read = engine.write([Writing(expert=Expert.REASONER, prompt=turn, max_tokens=1) for turn in turns])
    assert [text.tokens for text in texts] == [4, 4, 4]
    assert [text.prompt_tokens for text in texts] == [text.prompt_tokens for text in read]
    assert [answer.probabilities.index(max(answer.probabilities)) for answer in theirs] == [0, 1, 2]
    for one, other in zip(theirs, ours, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=0.1)
        assert sum(one.probabilities) == pytest.approx(1)


@pytest.mark.model
def test_the_process_measures_the_yardstick_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, small in (("LONG", 20), ("SHORT", 5), ("WRITTEN", 3), ("ITEMS", 2)):
        monkeypatch.setattr(engine_child, name, small)
    job = {"settings": Settings(device="cpu").model_dump(mode="json"), "adapters": {}, "yardstick": True}
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert engine_child.main(tmp_path / "job.json") == 0
    found = Speed(**json.loads(capsys.readouterr().out)["result"])
    assert found.mixed_decode_tokens_per_s is None
    assert found.decode_tokens_per_s["16"] > 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with the real tokenizer and room for the long prompt."""
    return random_model(
        tmp_path_factory.mktemp("tiny"),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        initializer_range=0.5,
    )


@pytest.mark.model
def test_engines_are_measured_in_processes_of_their_own(tiny: Path, tmp_path: Path):
    told = []
    settings = Settings(model=str(tiny), cache=tmp_path, device="cpu", vllm_env=tmp_path / "none")
    bench = bench_engines(settings, 1, lambda *news: told.append(news))
    assert set(bench.engines) == {"reference", "local"}
    assert set(bench.ratios_to_reference) == {"local"}
    reference, local = bench.engines["reference"], bench.engines["local"]
    ratio = bench.ratios_to_reference["local"].decode_tokens_per_s["4"]
    assert ratio == pytest.approx(local.decode_tokens_per_s["4"] / reference.decode_tokens_per_s["4"], rel=1e-3)
    assert told[-1] == ("measuring", 2, 2)
    assert list(tmp_path.iterdir()) == [], "graphs of adapters that are gone are kept nowhere"


@pytest.mark.model
def test_parity_is_measured_with_adapters_that_are_trained(store: Store, tiny: Path, tmp_path: Path):
    add(store, 80, 24)
    settings = Settings(model=str(tiny), cache=tmp_path / "cache", device="cpu", vllm_env=tmp_path / "none")
    bench = bench_parity(settings, store, 6, steps=2, seed=0)
    assert bench.experts == TAUGHT
    assert set(bench.engines) == {"reference", "local"}
    assert bench.engines["local"].expectation_difference < 0.2
    assert bench.engines["local"].company < 0.01
    assert not (tmp_path / "cache").exists()
