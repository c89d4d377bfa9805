"""The vLLM engine beyond the conformance suite, on the real server: adapters, and the same answers as transformers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from whylike.adapters import server
from whylike.adapters.engines import open_engine
from whylike.adapters.engines.base import Adapter, Prompt, Weighing, Writing
from whylike.adapters.engines.local import LocalEngine
from whylike.adapters.engines.vllm import VllmEngine, served_name
from whylike.adapters_cli import adapters_app
from whylike.errors import EngineError
from whylike.records import Expert

pytestmark = pytest.mark.model

LABELS = ("1", "2", "3", "4", "5")
REVIEW = "A warm, slow story about two sisters; the ending felt rushed."


@pytest.fixture(scope="module")
def engine(vllm) -> Iterator[VllmEngine]:
    with closing(VllmEngine(vllm.settings, vllm.adapters)) as opened:
        yield opened


@pytest.fixture
def weighings(prompt: Callable[..., Prompt]) -> list[Weighing]:
    return [Weighing(expert=expert, prompt=prompt(REVIEW, prefill="Rating: "), labels=LABELS) for expert in Expert]


def copied(adapter: Adapter, to: Path, version: str) -> Adapter:
    """The same adapter as another version."""
    return Adapter(version=version, folder=shutil.copytree(adapter.folder, to))


def test_with_the_packaged_model_it_answers_as_the_reference_does(packaged_vllm, prompt, weighings: list[Weighing]):
    """With an adapter and without."""
    writings = [
        Writing(
            expert=expert,
            prompt=prompt(f"What is good here? {REVIEW}", prefill="It"),
            max_tokens=12,
            grammar=grammar,
            stop=("\n",),
        )
        for expert in (Expert.SUMMARIZER, Expert.REASONER, Expert.REWARD)
        for grammar in (None, r"start: / is (good|bad|warm|slow), and [a-z ]{5,30}\\./")
    ]
    settings, adapters = packaged_vllm.settings, {Expert.SUMMARIZER: packaged_vllm.adapters[Expert.SUMMARIZER]}
    reference = settings.model_copy(update={"engine": "reference"})
    with (
        closing(VllmEngine(settings, adapters)) as served,
        closing(LocalEngine(reference, adapters, dtype=torch.float32)) as plain,
    ):
        assert served.write(writings) == plain.write(writings)
        for one, other in zip(served.weigh(weighings), plain.weigh(weighings), strict=True):
            assert one.adapter_version == other.adapter_version
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_the_base_model_stays_itself_when_every_place_for_an_adapter_is_taken(
    vllm, engine: VllmEngine, weighings: list[Weighing], tmp_path: Path
):
    before = {each.adapter_version: each.probabilities for each in engine.weigh(weighings)}
    assert len(set(before.values())) == 4, "three adapters and the base model must differ for this test to see it"
    for number in range(4):
        one = copied(vllm.adapters[Expert.REASONER], tmp_path / str(number), f"reasoner-{number:08d}")
        with closing(VllmEngine(vllm.settings, {Expert.REASONER: one})) as other:
            (again,) = other.weigh(weighings[1:2])
        assert again.probabilities == pytest.approx(before[engine.adapter_version(Expert.REASONER)], abs=1e-4)
    for each in [*engine.weigh(weighings), *engine.weigh(weighings[3:])]:
        assert each.probabilities == pytest.approx(before[each.adapter_version], abs=1e-4)


def test_an_adapter_is_loaded_at_run_time_and_stays(vllm, weighings: list[Weighing], tmp_path: Path):
    one = copied(vllm.adapters[Expert.PREDICTOR], tmp_path / "new", "predictor-0000new")
    with closing(VllmEngine(vllm.settings, {Expert.PREDICTOR: one})) as fresh:
        version = fresh.adapter_version(Expert.PREDICTOR)
        assert version not in server.status(vllm.settings).adapters
        assert fresh.weigh(weighings[2:3])[0].adapter_version == version
    assert version in server.status(vllm.settings).adapters


def test_an_adapter_that_the_server_cannot_read_is_told(vllm, weighings: list[Weighing], tmp_path: Path):
    one = copied(vllm.adapters[Expert.PREDICTOR], tmp_path / "gone", "predictor-0000gone")
    with closing(VllmEngine(vllm.settings, {Expert.PREDICTOR: one})) as fresh:
        shutil.rmtree(one.folder)
        with pytest.raises(
            EngineError, match=r"does not have the adapter predictor-0000gone and did not load it .*404"
        ):
            fresh.weigh(weighings[2:3])


def test_a_damaged_adapter_is_told_and_the_server_goes_on(
    vllm, engine: VllmEngine, weighings: list[Weighing], tmp_path: Path
):
    one = copied(vllm.adapters[Expert.PREDICTOR], tmp_path / "cut", "predictor-0000cut")
    weights = one.folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with (
        closing(VllmEngine(vllm.settings, {Expert.PREDICTOR: one})) as fresh,
        pytest.raises(EngineError, match=r"does not have the adapter predictor-0000(gone|cut) and did not load it"),
    ):
        fresh.weigh(weighings[2:3])
    assert engine.weigh(weighings[2:3])


def test_a_prompt_beyond_the_context_is_refused_with_both_lengths(engine: VllmEngine, prompt):
    with pytest.raises(EngineError, match=r"has \d{4,} tokens and the base model takes at most 8192"):
        engine.write([Writing(expert=Expert.REASONER, prompt=prompt("word " * 9000), max_tokens=1)])


def test_prompts_that_begin_alike_share_what_is_computed(vllm, engine: VllmEngine, prompt):
    before = server.status(vllm.settings).cache
    assert before
    stable = "The user loves slow dread and hates happy endings. " * 12
    engine.weigh(
        [
            Weighing(expert=Expert.PREDICTOR, prompt=prompt(f"{stable} Item {item}.", prefill=": "), labels=LABELS)
            for item in range(2)
        ]
    )
    engine.weigh(
        [
            Weighing(expert=Expert.PREDICTOR, prompt=prompt(f"{stable} Item {item}.", prefill=": "), labels=LABELS)
            for item in range(2, 5)
        ]
    )
    after = server.status(vllm.settings).cache
    assert after
    found, asked = after.found_tokens - before.found_tokens, after.prompt_tokens - before.prompt_tokens
    assert found >= 3 * 96, "three prompts of 100 tokens and more, in blocks of 32, are there but for their ends"
    assert found < asked


def test_the_settings_choose_the_engine(vllm, prompt):
    with closing(open_engine(vllm.settings)) as chosen:
        assert chosen.name == "vllm"
        (answer,) = chosen.write([Writing(expert=Expert.REASONER, prompt=prompt("Say yes."), max_tokens=2)])
    assert answer.adapter_version.startswith("base:")


def test_the_status_says_what_runs(vllm, engine: VllmEngine):
    found = server.status(vllm.settings)
    assert found.healthy
    assert found.base == [served_name(vllm.settings.model)]
    assert {engine.adapter_version(expert) for expert in vllm.adapters} <= set(found.adapters)
    assert found.memory_mib
    assert found.memory_mib > 1000
    assert json.loads(found.model_dump_json())["url"] == vllm.settings.vllm_url


def test_what_is_no_longer_needed_is_unloaded_and_memory_does_not_grow(vllm, weighings: list[Weighing]):
    """Twenty promotions and the ways back."""
    with closing(VllmEngine(vllm.settings, vllm.adapters)) as promoting:
        promoting.weigh(weighings)
        sizes = []
        for number in range(20):
            promoting.adopt((vllm.others, vllm.adapters)[number % 2])
            promoting.weigh(weighings[1:3])
            found = server.status(vllm.settings)
            sizes.append(found.memory_mib)
        assert {adapter.version for adapter in vllm.adapters.values()} <= set(found.adapters)
        assert not {adapter.version for adapter in vllm.others.values()} & set(found.adapters)
    assert max(sizes[10:]) <= max(sizes[:10]) + 64, sizes


def test_promoting_has_the_server_load_the_version_and_one_that_it_cannot_load_is_not_promoted(
    vllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("engine", "model", "cache", "vllm_url"):
        monkeypatch.setenv(f"WHYLIKE_{name.upper()}", str(getattr(vllm.settings, name)))
    monkeypatch.setenv("WHYLIKE_STORE", str(tmp_path / "store"))
    run = partial(CliRunner().invoke, adapters_app)
    added = run(["add", str(vllm.others[Expert.REASONER].folder), "--expert", "reasoner"])
    version = re.search(r"reasoner-[0-9a-f]{8}", added.output)[0]
    assert version not in server.status(vllm.settings).adapters
    promoted = run(["promote", version])
    assert promoted.exit_code == 0, promoted.output
    assert version in server.status(vllm.settings).adapters
    wide = run(["add", str(vllm.wide.folder), "--expert", "predictor"])
    refused = run(["promote", re.search(r"predictor-[0-9a-f]{8}", wide.output)[0]])
    assert refused.exit_code != 0
    live = json.loads(run(["list", "--json"]).output)["live"]
    assert {name: found for name, found in live.items() if found} == {"reasoner": version}
