"""The local engine beyond the conformance suite: equal to transformers and PEFT, batches, prefixes, failures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
from locally import SOON, Reference, Watched, weighing, writing
from transformers import PreTrainedTokenizerFast

from whylike.adapters.engines import open_engine
from whylike.adapters.engines.base import Adapter, Weighing
from whylike.adapters.engines.decoding import Job
from whylike.adapters.engines.forward import BASE
from whylike.adapters.engines.grammar import Guide
from whylike.adapters.engines.local import LocalEngine
from whylike.adapters.engines.model import base_version
from whylike.errors import EngineError
from whylike.records import Expert
from whylike.settings import PACKAGED_MODEL, Settings

CONTEXT = 512


@pytest.fixture(scope="module")
def reference(tiny: Path, adapters: dict[Expert, Adapter], tokenizer: PreTrainedTokenizerFast) -> Reference:
    return Reference(tiny, adapters, tokenizer)


@pytest.mark.parametrize("expert", Expert)
def test_the_greedy_text_is_that_of_transformers_and_peft(
    engine: LocalEngine, reference: Reference, prompt, expert: Expert
):
    contents = ["Good.", "The battery dies within an hour. " * 5, "A slow story."]
    requests = [writing(prompt(content, prefill="So: "), expert, max_tokens=10) for content in contents]
    others = [writing(prompt("Else."), other) for other in Expert]
    for request, answer in zip(requests, engine.write([*requests, *others]), strict=False):
        assert answer.text == reference.greedy(request)


@pytest.mark.parametrize("expert", Expert)
def test_the_weights_are_a_softmax_over_the_labels_logits_of_transformers_and_peft(
    engine: LocalEngine, reference: Reference, prompt, expert: Expert
):
    request = weighing(prompt("The battery dies within an hour.", prefill="Rating: "), expert)
    mates = [weighing(prompt("Else. " * 9), other) for other in Expert]
    answer = engine.weigh([*mates, request])[-1]
    assert answer.probabilities == pytest.approx(reference.probabilities(request), rel=1e-4)


def test_experts_differ_by_their_adapters(engine: LocalEngine, prompt):
    weights = {expert: engine.weigh([weighing(prompt("Good."), expert)])[0] for expert in Expert}
    assert weights[Expert.REASONER].probabilities == weights[Expert.REWARD].probabilities
    assert len({weighed.probabilities for weighed in weights.values()}) == 3


def test_an_expert_without_an_adapter_signs_with_the_base_model(engine: LocalEngine, tiny: Path):
    assert engine.adapter_version(Expert.REASONER) == base_version(str(tiny))


def test_the_packaged_model_signs_with_its_name():
    assert LocalEngine(Settings()).adapter_version(Expert.REASONER) == f"base:{PACKAGED_MODEL}"


@pytest.mark.parametrize("shared", [1, 2, 9])
def test_a_reused_beginning_changes_no_answer(engine: LocalEngine, prompt, shared: int):
    system = "You read reviews and answer in one word. " * 6
    contents = ["Good.", "The battery dies within an hour. " * 5, "A slow story."]
    whole = [
        weighing(prompt(content, system=system, shared=0), Expert(name)) for content in contents for name in Expert
    ]
    parted = [
        weighing(prompt(content, system=system, shared=shared), Expert(name)) for content in contents for name in Expert
    ]
    for _ in range(2):
        for one, other in zip(engine.weigh(whole), engine.weigh(parted), strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, rel=2e-4)
    texts = [
        engine.write([writing(request.prompt, request.expert) for request in requests]) for requests in (whole, parted)
    ]
    assert texts[0] == texts[1]


def test_a_beginning_is_computed_once_for_each_adapter(fresh: LocalEngine, watched: Watched, prompt):
    system = "You read reviews and answer in one word. " * 6
    requests = [
        weighing(prompt("Good.", system=system), expert)
        for expert in (Expert.SUMMARIZER, Expert.SUMMARIZER, Expert.PREDICTOR, Expert.REASONER, Expert.REWARD)
    ]
    fresh.weigh(requests)
    beginnings = [call for call in watched.calls if call[0] == 1 and call[1] > 40]
    assert len(beginnings) == 3, "one for each adapter and one for the base model"
    watched.calls.clear()
    fresh.weigh(requests)
    assert [rows for rows, _ in watched.calls] == [5]
    assert watched.calls[0][1] < 20, "only the rows' own parts are computed"


def test_beginnings_are_kept_up_to_a_number_of_tokens(
    fresh: LocalEngine, watched: Watched, prompt, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("whylike.adapters.engines.decoding.KEPT_TOKENS", 150)

    def computed(letter: str) -> bool:
        watched.calls.clear()
        fresh.weigh([weighing(prompt("Good.", system=f"{letter} " * 50))])
        return len(watched.calls) == 2

    assert [computed(letter) for letter in "ababcbaa"] == [True, True, False, False, True, False, True, False]


def test_a_beginning_longer_than_all_that_is_kept_is_used_all_the_same(
    fresh: LocalEngine, prompt, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("whylike.adapters.engines.decoding.KEPT_TOKENS", 10)
    made = [prompt("Good.", system="Read. " * 50, shared=shared) for shared in (0, 1)]
    one, other = fresh.weigh([weighing(each) for each in made])
    assert one.probabilities == pytest.approx(other.probabilities, rel=1e-4)


def test_waiting_requests_are_joined_into_batches(open_local: Callable[..., LocalEngine], watched: Watched, prompt):
    engine = open_local(batch=4)
    engine.weigh([weighing(prompt("Warm up."))])
    watched.calls.clear()
    watched.entered.clear()
    watched.gate.clear()
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(engine.weigh, [weighing(prompt("Good."))])
        assert watched.entered.wait(SOON)
        rest = [pool.submit(engine.weigh, [weighing(prompt(f"Good {index}."))]) for index in range(9)]
        with engine._changed:
            assert engine._changed.wait_for(lambda: len(engine._waiting) == 9, SOON)
        watched.gate.set()
        assert all(future.result() for future in [first, *rest])
    assert [rows for rows, _ in watched.calls] == [1, 4, 4, 1]
    engine.close()


def test_a_batch_takes_its_own_expert_first_and_passes_nobody_over(
    open_local: Callable[..., LocalEngine], watched: Watched, prompt
):
    engine = open_local(batch=2)
    watched.gate.clear()
    one, other = (weighing(prompt("Good.", shared=0), expert) for expert in (Expert.PREDICTOR, Expert.REASONER))
    jobs = [Job(request) for request in (one, one, other, one, other, one, one)]
    engine._enqueue(jobs)
    watched.gate.set()
    for job in jobs:
        job.answer.result(SOON)
    first, second = engine.adapter_version(Expert.PREDICTOR), BASE
    assert watched.adapters == [[first, first], [second, second], [first, first], [first]]
    engine.close()


def test_finished_rows_leave_the_batch(engine: LocalEngine, watched: Watched, prompt):
    requests = [writing(prompt("Good.", shared=0), max_tokens=limit) for limit in (1, 3, 3, 5)]
    requests.append(weighing(prompt("Good.", shared=0)))
    answers = engine._answers([Job(request) for request in requests])
    assert [rows for rows, _ in watched.calls] == [5, 3, 3, 1, 1]
    assert [answer.tokens for answer in answers[:-1]] == [1, 3, 3, 5]


def test_what_a_grammar_forces_is_shown_to_the_model_and_not_asked_for(engine: LocalEngine, watched: Watched, prompt):
    forced = "The battery dies within an hour: "
    request = writing(prompt("Good.", shared=0), grammar=f'start: "{forced}" ("yes" | "no")', max_tokens=40)
    pieces: list[str] = []
    answer = engine.stream(request, pieces.append)
    assert answer.text in {f"{forced}yes", f"{forced}no"}
    assert answer.tokens > 6
    assert len(watched.calls) <= 2, "one forward call for each choice"
    assert len(pieces) > 6, "it is told piece by piece all the same"
    whole = writing(prompt("Good."), grammar=f'start: "{forced}"', max_tokens=40)
    watched.calls.clear()
    assert engine.write([whole])[0].text == forced
    assert watched.calls == [], "there is nothing to choose"
    assert engine.write([whole.model_copy(update={"max_tokens": 3})])[0].finish == "length"


def test_a_failing_batch_fails_its_callers_and_the_next_one_works(engine: LocalEngine, watched: Watched, prompt):
    watched.failure = RuntimeError("out of memory")
    with pytest.raises(EngineError, match="local engine failed: out of memory"):
        engine.write([writing(prompt("Good.")), writing(prompt("Bad."))])
    watched.failure = None
    assert engine.write([writing(prompt("Good."))])[0].tokens


@pytest.mark.parametrize("raised", [EngineError("too complex"), ValueError("too complex")])
def test_a_bad_request_fails_alone_in_its_batch(
    engine: LocalEngine, prompt, monkeypatch: pytest.MonkeyPatch, raised: Exception
):
    monkeypatch.setattr(Guide, "accept", Mock(side_effect=raised))
    good = writing(prompt("Good."), max_tokens=4)
    expected = engine.write([good])[0]
    bad = [
        writing(prompt("Good."), grammar="start: missing"),
        writing(prompt("word " * 600)),
        weighing(prompt("Good."), labels=("9", "10")),
        writing(prompt("Good."), grammar="start: /[a-z]+/"),
    ]
    jobs = [Job(request) for request in (bad[0], good, *bad[1:], good)]
    engine._enqueue(jobs)
    for job in jobs:
        if job.request is good:
            assert job.answer.result(SOON) == expected
        else:
            assert isinstance(job.answer.exception(30), EngineError), job.request
    assert "too complex" in str(jobs[-2].answer.exception())


def test_a_prompt_longer_than_the_context_is_refused_with_both_lengths(engine: LocalEngine, prompt):
    made = prompt("word " * 600)
    for call in (lambda: engine.write([writing(made)]), lambda: engine.weigh([weighing(made)])):
        with pytest.raises(EngineError, match=rf"6\d\d tokens and the base model takes at most {CONTEXT}; shorten"):
            call()


def test_a_text_ends_where_the_context_does(engine: LocalEngine, prompt):
    made = prompt("word " * 480)
    answer = engine.write([writing(made, max_tokens=400)])[0]
    assert answer.finish == "length"
    assert answer.prompt_tokens + answer.tokens == CONTEXT


def test_closing_ends_what_runs_and_what_waits(fresh: LocalEngine, watched: Watched, prompt):
    watched.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(fresh.write, [writing(prompt("Good.", shared=0), max_tokens=50)])
        assert watched.entered.wait(SOON)
        waiting = pool.submit(fresh.weigh, [weighing(prompt("Good."))])
        with fresh._changed:
            assert fresh._changed.wait_for(lambda: fresh._waiting, SOON)
        closing = pool.submit(fresh.close)
        assert fresh._closed.wait(SOON)
        watched.gate.set()
        closing.result(SOON)
        for future in (running, waiting):
            with pytest.raises(EngineError, match="closed before"):
                future.result(SOON)
    assert len(watched.calls) == 1
    assert not fresh._thread.is_alive()


def test_a_stream_that_nobody_reads_any_more_leaves_the_batch(engine: LocalEngine, watched: Watched, prompt):
    engine.write([writing(prompt("Good."), max_tokens=1)])
    watched.calls.clear()

    def listener(piece: str) -> None:
        watched.gate.clear()
        raise KeyError(piece)

    with pytest.raises(KeyError):
        engine.stream(writing(prompt("Good."), max_tokens=400), listener)
    watched.gate.set()
    engine.write([writing(prompt("Good."), max_tokens=1)])
    assert len(watched.calls) < 390


def test_a_program_that_forgets_to_close_ends_in_peace_and_shows_nothing_of_the_libraries(
    tiny: Path, adapters, tmp_path: Path
):
    program = f"""
import atexit, threading
atexit.register(lambda: print([thread.name for thread in threading.enumerate() if "whylike" in thread.name]))
from pathlib import Path
from whylike.adapters.engines.base import Adapter, Message, Prompt, Writing
from whylike.adapters.engines.grammar import Guide
from whylike.adapters.engines.local import LocalEngine
from whylike.records import Expert
from whylike.settings import Settings
adapter = Adapter(version="summarizer-1", folder=Path({str(adapters[Expert.SUMMARIZER].folder)!r}))
settings = Settings(model={str(tiny)!r}, cache={str(tmp_path)!r})
engine = LocalEngine(settings, {{Expert.SUMMARIZER: adapter}})
prompt = Prompt(messages=(Message(role="user", content="Good."),))
print(engine.write([Writing(expert="reasoner", prompt=prompt, max_tokens=3)])[0].tokens)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n[]\n", "")


def test_a_model_that_is_missing_is_refused_at_the_first_request_with_a_mend(tmp_path: Path, prompt):
    engine = LocalEngine(Settings(model=str(tmp_path / "none")))
    for _ in range(2):
        with pytest.raises(EngineError, match=r"none' could not be loaded .*set model to a folder"):
            engine.write([writing(prompt("Good."))])
    engine.close()


def test_the_settings_choose_the_engine(tiny: Path):
    assert open_engine(Settings(engine="scripted")).name == "scripted"
    assert open_engine(Settings(engine="local", model=str(tiny))).name == "local"
    assert open_engine(Settings(engine="reference", model=str(tiny))).name == "reference"


@pytest.fixture(scope="module")
def real() -> Iterator[LocalEngine]:
    """The real base model, as it runs on a CPU unless told otherwise."""
    opened = LocalEngine(Settings(device="cpu"))
    yield opened
    opened.close()


@pytest.mark.model
def test_the_packaged_model_writes_sense(real: LocalEngine, prompt):
    made = prompt("What is the capital of France?", system="Answer in one short sentence.")
    answer = real.write([writing(made, Expert.REASONER, max_tokens=20)])[0]
    assert "Paris" in answer.text
    assert answer.finish == "stop"
    assert answer.adapter_version == f"base:{PACKAGED_MODEL}"


@pytest.mark.model
def test_company_moves_nothing_of_the_packaged_model_and_a_reused_beginning_hardly_anything(real: LocalEngine, prompt):
    system = "You guess the stars, from 1 to 5, that somebody gave. " * 10
    contents = ["I loved every minute.", "Broken on arrival, never again. " * 12, "It is fine."]

    def asked(content: str, shared: int) -> Weighing:
        return weighing(prompt(content, prefill="Stars: ", system=system, shared=shared))

    together = real.weigh([asked(content, 1) for content in contents])
    for content, other in zip(contents, together, strict=True):
        assert real.weigh([asked(content, 1)])[0].probabilities == pytest.approx(other.probabilities, rel=1e-3)
        assert real.weigh([asked(content, 0)])[0].probabilities == pytest.approx(other.probabilities, abs=0.05)
