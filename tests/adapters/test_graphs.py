"""Graphs for a CPU: made once, whole or not at all, only of models that come out the same; and their memory."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from transformers import LlamaForCausalLM

from whylike.adapters.engines import graphs as graphs_module
from whylike.adapters.engines.base import Adapter, Writing
from whylike.adapters.engines.forward import BASE
from whylike.adapters.engines.graphs import STEPS, Graphs
from whylike.adapters.engines.model import Base, find_base
from whylike.adapters.engines.paged import BLOCK, FIRST, PagedModel
from whylike.errors import EngineError
from whylike.preparing import listening
from whylike.records import Expert
from whylike.settings import Settings

IDS = [list(range(100, 145)), list(range(200, 207))]


@pytest.fixture(scope="module")
def base(tiny: Path) -> Base:
    return find_base(Settings(model=str(tiny)))


@pytest.fixture(scope="module")
def model(base: Base, tmp_path_factory: pytest.TempPathFactory) -> PagedModel:
    return Graphs(base, tmp_path_factory.mktemp("cache"), exact=True).model()


def expected(tiny: Path, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return LlamaForCausalLM.from_pretrained(tiny).eval()(torch.tensor([ids])).logits[0, -1]


def held(model: PagedModel) -> int:
    gc.collect()
    return model.memory.size - len(model.memory._free)


def test_a_graph_is_made_once_and_again_for_another_adapter_or_base(
    base: Base, adapters: dict[Expert, Adapter], tmp_path: Path
):
    def made() -> dict[Path, int]:
        return {each: each.stat().st_mtime_ns for each in tmp_path.glob("graph-*/graph.xml")}

    one = adapters[Expert.SUMMARIZER]
    told: list[tuple[str, int, int]] = []
    with listening(lambda *news: told.append(news)):
        Graphs(base, tmp_path, exact=True).model().load(one)
        first = made()
        assert len(first) == 2, "the base model and the adapter"
        Graphs(base, tmp_path, exact=True).model().load(one.model_copy(update={"version": "another-name"}))
    assert made() == first
    whole = [(done, STEPS) for done in range(STEPS + 1)]
    assert [news[1:] for news in told] == whole + whole
    assert [one.version in news[0] for news in told] == [False] * (STEPS + 1) + [True] * (STEPS + 1)
    Graphs(base, tmp_path, exact=True).model().load(adapters[Expert.PREDICTOR])
    assert len(made()) == 3
    Graphs(base, tmp_path, exact=False).model()
    assert len(made()) == 4


def test_adapters_come_and_go(base: Base, adapters: dict[Expert, Adapter], tmp_path: Path):
    model = Graphs(base, tmp_path, exact=True).model()
    one = adapters[Expert.SUMMARIZER]
    assert model.loaded == frozenset()
    model.load(one)
    scores = model.batch([one.version, BASE], [None, None], 0).forward([IDS[0], IDS[0]])
    assert not torch.allclose(scores[0], scores[1], atol=1e-3)
    model.unload(one.version)
    assert model.loaded == frozenset()
    with pytest.raises(EngineError, match=r"the adapter .*none does not fit the base model .*No such file"):
        model.load(Adapter(version="none", folder=tmp_path / "none"))
    assert model.loaded == frozenset()


def test_weights_in_int8_come_out_alike(base: Base, tiny: Path, tmp_path: Path):
    scores = Graphs(base, tmp_path, exact=False).model().batch([BASE], [None], 0).forward(IDS[:1])[0]
    exact = expected(tiny, IDS[0])
    assert torch.nn.functional.cosine_similarity(scores, exact, dim=0) > 0.999
    assert not torch.allclose(scores, exact, atol=1e-6), "they were not compressed"


def test_rows_do_not_touch_each_other_and_may_take_several_tokens_at_once(model: PagedModel, tiny: Path):
    batch = model.batch([BASE, BASE], [None, None], 0)
    batch.forward([IDS[0][:3], IDS[1][:1]])
    scores = batch.forward([IDS[0][3:], IDS[1][1:]])
    for row, ids in zip(scores, IDS, strict=True):
        assert torch.allclose(row, expected(tiny, ids), atol=1e-3, rtol=1e-3)
    batch.drop(0)
    assert torch.allclose(batch.forward([[5, 6]])[0], expected(tiny, [*IDS[1], 5, 6]), atol=1e-3, rtol=1e-3)


def test_a_beginning_shares_its_full_blocks_and_stays_as_it_was(model: PagedModel, tiny: Path):
    before = held(model)
    first = model.batch([BASE], [None], 0)
    first.forward([IDS[0]])
    beginning = first.first()
    assert (beginning.tokens, len(beginning.blocks)) == (45, 2)
    rows = model.batch([BASE] * 3, [beginning] * 3, 0)
    assert held(model) - before == 2 + 3, "each row has a copy of the block that is not full"
    scores = rows.forward([[7], [8], [9]])
    for row, last in zip(scores, (7, 8, 9), strict=True):
        assert torch.allclose(row, expected(tiny, [*IDS[0], last]), atol=1e-3, rtol=1e-3)
    del first, rows, beginning
    assert held(model) == before, "what nobody holds is free"


def test_the_memory_grows_and_keeps_what_it_holds(model: PagedModel, tiny: Path):
    batch = model.batch([BASE], [None], 0)
    batch.forward([IDS[0]])
    others = [model.memory.take() for _ in range(FIRST + 1)]
    assert model.memory.size > FIRST
    assert len({block.index for block in others}) == len(others)
    assert torch.allclose(batch.forward([[7]])[0], expected(tiny, [*IDS[0], 7]), atol=1e-3, rtol=1e-3)
    assert BLOCK * model.memory.size >= 45


def test_a_conversion_that_breaks_off_leaves_nothing_that_is_taken_for_whole(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*args: object) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(graphs_module, "_likeness", killed)
        with pytest.raises(KeyboardInterrupt):
            Graphs(base, tmp_path, exact=True).model()
    assert [path.suffix for path in tmp_path.iterdir() if path.is_dir()] == [".partial"]
    Graphs(base, tmp_path, exact=True).model().batch([BASE], [None], 0).forward([[1]])
    assert [path.suffix for path in tmp_path.iterdir() if path.is_dir()] == [""]


def test_a_model_that_does_not_come_out_the_same_is_left_to_transformers_and_that_is_said(
    open_local, tmp_path: Path, prompt: Callable, monkeypatch: pytest.MonkeyPatch, caplog
):
    for outcome, reason in ((RuntimeError("no such operation\nin the tracer"), "no such operation"), (0.5, "of 0.500")):
        monkeypatch.setattr(graphs_module, "_likeness", Mock(side_effect=[outcome] * 2))
        engine = open_local(cache=tmp_path)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert engine.write([Writing(expert=Expert.REASONER, prompt=prompt("Good."), max_tokens=2)])[0].tokens
        engine.close()
        (said,) = [record.getMessage() for record in caplog.records]
        assert "cannot be converted for this CPU" in said
        assert reason in said
        assert "transformers runs it, which is slower" in said
        assert "\n" not in said


def test_a_model_that_is_converted_says_nothing(open_local, prompt: Callable, caplog, tmp_path: Path):
    engine = open_local(cache=tmp_path)
    with caplog.at_level(logging.WARNING):
        engine.write([Writing(expert=Expert.REASONER, prompt=prompt("Good."), max_tokens=2)])
    engine.close()
    assert not caplog.records


def test_a_cache_that_cannot_be_written_is_named(base: Base, tmp_path: Path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(EngineError, match=r"cache.*set cache to a folder"):
        Graphs(base, tmp_path / "cache", exact=True).model()


def test_nothing_is_reported_to_the_makers_of_openvino(tmp_path: Path):
    """Its own package for that notes in the home whom it reports as, and imports what sends."""
    program = "import sys, whylike.adapters.engines.graphs; print([m for m in sys.modules if 'telemetry.' in m])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ["[]"]
    assert not (tmp_path / "intel").exists()
