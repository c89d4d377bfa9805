"""The scripted engine's own promises: rules, history, failures, and no model libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from whylike.adapters.engines.base import Prompt, Weighing, Writing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.errors import EngineError
from whylike.records import Expert


def writing(made: Prompt, expert: Expert = Expert.SUMMARIZER, **changes: object) -> Writing:
    return Writing(**{"expert": expert, "prompt": made, "max_tokens": 20, **changes})


def test_it_needs_no_model_libraries():
    program = """
import sys
from whylike.adapters.engines.scripted import ScriptedEngine
ScriptedEngine()
print({'torch', 'transformers'} & {*sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"


def test_a_list_answers_in_turn_and_then_is_used_up(prompt):
    engine = ScriptedEngine({Expert.REASONER: ["One.", "Two."]})
    request = writing(prompt("Good."), Expert.REASONER)
    assert [answer.text for answer in engine.write([request, request])] == ["One.", "Two."]
    with pytest.raises(EngineError, match="no text left for the reasoner"):
        engine.write([request])
    assert engine.write([writing(prompt("Good."))])[0].text, "the other experts answer by hash"


def test_a_function_answers_from_the_request(prompt):
    engine = ScriptedEngine({Expert.REASONER: lambda request: request.prompt.messages[-1].content.upper()})
    assert engine.write([writing(prompt("Good."), Expert.REASONER)])[0].text == "GOOD."


def test_a_rule_must_keep_to_the_grammar(prompt):
    engine = ScriptedEngine({Expert.SUMMARIZER: ["yes", "perhaps", "ye"]})
    request = writing(prompt("Good."), grammar='start: "yes" | "no"')
    assert engine.write([request])[0].text == "yes"
    for text in ("perhaps", "ye"):
        with pytest.raises(EngineError, match=f"'{text}' does not match the grammar"):
            engine.write([request])


def test_weights_come_from_a_rule_scaled_to_one(prompt):
    engine = ScriptedEngine(weights={Expert.PREDICTOR: lambda request: range(1, len(request.labels) + 1)})
    request = Weighing(expert=Expert.PREDICTOR, prompt=prompt("Good."), labels=("1", "2", "3", "4"))
    assert engine.weigh([request])[0].probabilities == pytest.approx((0.1, 0.2, 0.3, 0.4))


def test_chosen_calls_fail_and_all_are_remembered(prompt):
    engine = ScriptedEngine(fail_on={2, 3})
    first, second = writing(prompt("Good.")), writing(prompt("Bad."))
    weighing = Weighing(expert=Expert.PREDICTOR, prompt=prompt("Good."), labels=("1", "2"))
    engine.write([first, second])
    with pytest.raises(EngineError, match="told to fail on call 2"):
        engine.weigh([weighing])
    with pytest.raises(EngineError, match="told to fail on call 3"):
        engine.stream(second, print)
    engine.write([second])
    assert engine.history == [first, second, weighing, second, second]


def test_the_answer_is_the_same_in_every_process(prompt):
    program = """
from whylike.adapters.engines.base import *
from whylike.adapters.engines.scripted import ScriptedEngine
messages = Message(role="system", content="You read reviews."), Message(role="user", content="Loud bass, weak cable.")
p = Prompt(messages=messages, shared=1)
g = 'start: item (", " item)*\\nitem: /[a-z]+/'
print(ScriptedEngine().write([Writing(expert="summarizer", prompt=p, max_tokens=20, grammar=g)])[0].text)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    grammar = 'start: item (", " item)*\nitem: /[a-z]+/'
    here = ScriptedEngine().write([writing(prompt("Loud bass, weak cable."), grammar=grammar)])[0].text
    assert done.stdout == here + "\n"
    assert {"loud", "bass", "weak", "cable"} & set(here.split(", ")), "it is made of words of the prompt"


@pytest.mark.parametrize(
    "grammar", ["start: /.*/", r"start: /(.|\n)+/", 'start: ("a" | "b" start)', "start: /[^a]{40,}/"]
)
def test_a_grammar_without_a_longest_text_comes_to_an_end(prompt, grammar: str):
    for seed in range(20):
        answer = ScriptedEngine().write([writing(prompt("Good sound."), grammar=grammar, temperature=1, seed=seed)])[0]
        assert answer.tokens <= 20


def test_a_text_that_finds_no_end_is_cut():
    made = Prompt(messages=({"role": "user", "content": "Good."},))
    answer = ScriptedEngine().write([writing(made, grammar="start: /[a-z]{500}/", max_tokens=3)])[0]
    assert answer.finish == "length"
