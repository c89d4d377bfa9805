"""One pair of the demo corpus, end to end, with the real base model."""

from __future__ import annotations

import json
from contextlib import closing
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from whylike.adapters.engines.local import LocalEngine
from whylike.graph.pair import Event, Services, explain
from whylike.graph.schema import FILE
from whylike.memory.ingest import ingest
from whylike.settings import Settings

AS_OF = 1_720_000_000
"""After the corpus, which ends in June 2024."""


@pytest.mark.model
def test_a_demo_pair_is_explained_by_the_real_model(folder: Path):
    settings = Settings(store=folder, device="cpu", history=2)
    events: list[Event] = []
    with (
        resources.as_file(resources.files("whylike.memory").joinpath("demo_corpus")) as corpus,
        closing(LocalEngine(settings)) as engine,
        Services.open(settings, engine=engine) as services,
    ):
        ingest(services.store, corpus / "reviews.jsonl", items_file=corpus / "items.jsonl")
        pair = json.loads((corpus / "pairs.json").read_text(encoding="utf-8"))[0]
        explanation = explain(services, pair["user_id"], pair["item_id"], as_of=AS_OF, on_event=events.append)
        again = explain(services, pair["user_id"], pair["item_id"], as_of=AS_OF)
    jsonschema.validate(json.loads(explanation.model_dump_json()), json.loads(FILE.read_text(encoding="utf-8")))
    assert again.model_dump(exclude={"seconds"}) == explanation.model_dump(exclude={"seconds"})
    assert explanation.engine == "local"
    assert len(explanation.evidence) == 4
    assert any(evidence.summary.likes for evidence in explanation.evidence)
    assert explanation.reason
    sentences = explanation.reason.sentences
    assert 1 <= len(sentences) <= 4
    ids = {evidence.id for evidence in explanation.evidence}
    for sentence in sentences:
        assert sentence.supported, sentence.text
        assert set(sentence.evidence) <= ids
        assert sentence.text.endswith(".")
    assert "".join(event.text for event in events if event.node == "reason") == explanation.reason.text
    assert explanation.rating.expectation != explanation.rating.bias_baseline, "the reason was heard"
