"""The registry: adding, promoting, rolling back, and what it says of adapters that were changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from peft import PeftModel
from transformers import LlamaForCausalLM

from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.adapters.registry.identity import CARD, CONFIG, PARTS, WEIGHTS, base_fingerprint, fingerprint
from whylike.adapters.registry.registry import OPTIONAL, PARTIAL, Moved, Registry, card_of
from whylike.errors import EngineError, InputError, NotFoundError, StoreError, UsageError
from whylike.memory.store import Store
from whylike.records import AdapterCard, Expert, Provenance
from whylike.settings import Settings


def test_an_added_adapter_is_a_folder_named_by_its_content_with_its_card(
    registry: Registry, adapters: dict[Expert, Adapter], made: Callable[..., Provenance], tiny: Path
) -> None:
    told = made(Expert.SUMMARIZER, data_hash="d" * 64, settings={"epochs": 2, "modules": ["q"]}, metrics={"loss": 0.5})
    version = registry.add(adapters[Expert.SUMMARIZER].folder, told)
    folder = registry.folder / version
    content = fingerprint(folder)
    assert version == f"summarizer-{content[:8]}"
    assert {path.name for path in folder.iterdir()} == {*PARTS, CARD}
    assert [path.name for path in registry.folder.iterdir()] == [version]
    card = registry.card(version)
    assert card == card_of(folder)
    assert (card.content_hash, card.rank, card.base_model) == (content, 4, tiny.name)
    assert card.model_dump(include=set(Provenance.model_fields) - {"base_hash"}) == told.model_dump(
        exclude={"base_hash"}
    )
    assert len(card.base_hash) == 64
    [entry] = registry.entries()
    assert (entry.card, entry.live, entry.shipped) == (card, False, False)
    assert registry.live() == {}


def test_what_a_version_goes_on_from_is_told_by_its_card_or_else_by_the_registry(
    registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance]
) -> None:
    first = registry.add(copy("one", lora_alpha=1), made(Expert.SUMMARIZER))
    second = registry.add(copy("two", lora_alpha=2), made(Expert.SUMMARIZER, parent=first))
    lineage = registry.lineage(second)
    assert [card.version for card in lineage] == [first, second]
    assert not any(card.ancestors for card in lineage)
    third = registry.add(copy("three", lora_alpha=3), made(Expert.SUMMARIZER, parent=second, ancestors=lineage))
    assert registry.lineage(third)[:-1] == lineage
    orphan = registry.add(copy("four", lora_alpha=4), made(Expert.SUMMARIZER, parent="summarizer-00000000"))
    assert [card.version for card in registry.lineage(orphan)] == [orphan]


@pytest.mark.parametrize(
    ("told", "known"), [(1_700_000_000, 1_700_000_000), (10**13, None), (-5, None), ("soon", None), (None, None)]
)
def test_only_a_time_tells_up_to_when_a_version_learned(
    told: object, known: int | None, registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance]
) -> None:
    version = registry.add(copy("one"), made(Expert.SUMMARIZER, made_with={"learned_until": told}))
    assert registry.learned_until(version) == known


def test_what_says_nothing_about_the_answers_makes_no_other_version(
    registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance]
) -> None:
    first = registry.add(copy("one"), made(Expert.SUMMARIZER))
    noisy = copy("two", base_model_name_or_path="elsewhere", peft_version="9", lora_dropout=0.5, inference_mode=False)
    config = json.loads((noisy / CONFIG).read_text())
    config["target_modules"].reverse()
    (noisy / CONFIG).write_text(json.dumps(dict(reversed(config.items()))))
    (noisy / "README.md").write_text("changed")
    assert registry.add(noisy, made(Expert.SUMMARIZER, command="another")) == first
    assert registry.card(first).command == "test"
    assert registry.add(copy("three", lora_alpha=9), made(Expert.SUMMARIZER)) != first
    assert registry.add(noisy, made(Expert.REASONER)) == f"reasoner-{first.partition('-')[2]}"


def test_what_is_kept_answers_as_what_was_trained(
    registry: Registry, train: Callable[..., Adapter], made: Callable[..., Provenance], tiny: Path
) -> None:
    patterns = {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"v_proj": 32}}
    trained = train(Expert.REASONER, 5, r=4, use_rslora=True, lora_dropout=0.1, **patterns)
    version = registry.add(trained.folder, made(Expert.REASONER))
    assert registry.card(version).rank == 8
    one, other = (
        PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(tiny), folder).eval()
        for folder in (trained.folder, registry.folder / version)
    )
    ids = one.dummy_inputs["input_ids"]
    assert (one(ids).logits == other(ids).logits).all()


def test_a_folder_of_another_registry_brings_its_card(
    registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance], tmp_path: Path, settings: Settings
) -> None:
    version = registry.add(copy("one"), made(Expert.SUMMARIZER, metrics={"loss": 0.5}))
    with Store.open(settings.model_copy(update={"store": tmp_path / "other"})) as store:
        other = Registry(settings, store)
        card = card_of(registry.folder / version)
        assert isinstance(card, AdapterCard)
        assert other.add(registry.folder / version, card) == version
        assert other.card(version) == card
        changed = card.model_copy(update={"content_hash": "0" * 64})
        with pytest.raises(InputError, match="is not what its card says; copy it again"):
            other.add(registry.folder / version, changed)


def test_promoting_and_rolling_back(registry: Registry, added: Callable[..., str]) -> None:
    first, second = added(Expert.REASONER, 1), added(Expert.REASONER, 2)
    other = added(Expert.SUMMARIZER, 1)
    assert registry.promote(first, "ann") == Moved(expert=Expert.REASONER, before=None, now=first)
    assert registry.promote(other, "ann").before is None
    assert registry.promote(second, "bob") == Moved(expert=Expert.REASONER, before=first, now=second)
    assert registry.promote(second, "bob") == Moved(expert=Expert.REASONER, before=second, now=second)
    assert registry.live_versions() == {Expert.REASONER: second, Expert.SUMMARIZER: other}
    assert registry.live()[Expert.REASONER] == Adapter(version=second, folder=registry.folder / second)
    assert [entry.card.version for entry in registry.entries() if entry.live] == [other, second]
    assert registry.roll_back(Expert.REASONER, "cy") == Moved(expert=Expert.REASONER, before=second, now=first)
    assert registry.roll_back(Expert.REASONER, "cy") == Moved(expert=Expert.REASONER, before=first, now=None)
    assert registry.live_versions() == {Expert.SUMMARIZER: other}
    for expert in (Expert.REASONER, Expert.REWARD):
        with pytest.raises(UsageError, match="base model alone, and there is nothing before that"):
            registry.roll_back(expert, "cy")
    assert [each.promoted_by for each in registry.history(Expert.REASONER)] == ["ann", "bob", "cy", "cy"]


def test_a_version_that_is_not_there_is_told_with_the_nearest(registry: Registry, added: Callable[..., str]) -> None:
    version = added(Expert.REASONER, 1)
    with pytest.raises(NotFoundError, match=rf"no adapter '{version}x'; did you mean {version}\?"):
        registry.promote(f"{version}x", "ann")
    with pytest.raises(NotFoundError, match=r"no adapter 'z'; `whylike adapters list`"):
        registry.card("z")


def one_byte(folder: Path) -> None:
    weights = folder / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def another_scale(folder: Path) -> None:
    config = folder / CONFIG
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 9'))


def one_more_file(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(b"pickle")


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (one_byte, "has been changed since it was added"),
        (another_scale, "has been changed since it was added"),
        (one_more_file, "holds adapter_model.bin, which was not there when it was added"),
        (no_weights, "cannot be read"),
        (no_folder, "is gone"),
    ],
)
def test_an_adapter_that_was_changed_later_is_found_and_can_be_mended(
    registry: Registry, added: Callable[..., str], change: Callable[[Path], None], told: str
) -> None:
    version, other = added(Expert.REASONER, 1), added(Expert.REASONER, 2)
    registry.promote(version, "ann")
    change(registry.folder / version)
    for use in (registry.live, lambda: registry.promote(version, "ann")):
        with pytest.raises(StoreError, match=rf"{version} {told}.*add it again.*adapters rollback reasoner`$"):
            use()
    registry.promote(other, "ann")
    assert registry.roll_back(Expert.REASONER, "ann").now == version, "a way out must not depend on folders"
    assert registry.roll_back(Expert.REASONER, "ann").now is None
    assert added(Expert.REASONER, 1) == version
    registry.promote(version, "ann")
    assert registry.live()[Expert.REASONER].version == version


def test_a_card_in_the_folder_may_change_without_harm(registry: Registry, added: Callable[..., str]) -> None:
    """The truth is in SQL."""
    version = added(Expert.REASONER, 1)
    before = registry.card(version)
    (registry.folder / version / CARD).write_text("{}")
    registry.promote(version, "ann")
    assert registry.live()
    assert registry.card(version) == before


def test_an_adapter_of_another_base_model_is_not_used(
    registry: Registry, store: Store, added: Callable[..., str], settings: Settings, other_base: Path
) -> None:
    version, base = added(Expert.REASONER, 1), Path(settings.model).name
    registry.promote(version, "ann")
    elsewhere = Registry(settings.model_copy(update={"model": str(other_base)}), store)
    for use in (elsewhere.live, lambda: elsewhere.promote(version, "ann")):
        with pytest.raises(UsageError, match=rf"{version} was trained on {base}, and setting model names .*; set"):
            use()
    assert Registry(settings.model_copy(update={"engine": "scripted"}), store).live()


def test_a_promotion_waits_for_the_engine_that_is_to_answer(registry: Registry, added: Callable[..., str]) -> None:
    first, second, third = (added(Expert.REASONER, seed) for seed in (1, 2, 3))
    other = added(Expert.SUMMARIZER, 1)
    engine = ScriptedEngine()
    registry.promote(other, "ann")
    registry.promote(first, "ann", engine)
    assert engine.adapter_version(Expert.REASONER) == first
    assert engine.adapter_version(Expert.SUMMARIZER) == other
    registry.promote(second, "ann", engine)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        registry.promote(third, "ann", engine)
    assert registry.live_versions()[Expert.REASONER] == second


@pytest.fixture
def shipped(
    settings: Settings, copy: Callable[..., Path], made: Callable[..., Provenance], tmp_path: Path
) -> tuple[Path, str]:
    """A folder as of the package, and the Reasoner in it."""
    folder = tmp_path / "shipped"
    with Store.open(settings.model_copy(update={"store": tmp_path / "workshop"})) as store:
        workshop = Registry(settings, store)
        version = workshop.add(copy("shipped-one"), made(Expert.REASONER))
        shutil.copytree(workshop.folder, folder)
    return folder, version


def test_an_adapter_that_comes_with_whylike_answers_until_another_is_promoted(
    settings: Settings, store: Store, shipped: tuple[Path, str], added: Callable[..., str]
) -> None:
    folder, version = shipped
    registry = Registry(settings, store, folder)
    assert registry.live() == {Expert.REASONER: Adapter(version=version, folder=folder / version)}
    assert [(entry.live, entry.shipped) for entry in registry.entries()] == [(True, True)]
    mine = added(Expert.REASONER, 2)
    assert registry.promote(mine, "ann") == Moved(expert=Expert.REASONER, before=version, now=mine)
    shutil.rmtree(folder)  # the next release of whylike comes with others
    registry = Registry(settings, store, folder)
    assert registry.roll_back(Expert.REASONER, "ann").now == version
    assert registry.live() == {Expert.REASONER: Adapter(version=version, folder=registry.folder / version)}
    assert registry.roll_back(Expert.REASONER, "ann").now is None
    assert registry.live() == {}


def test_an_adapter_that_comes_with_whylike_can_be_turned_off_and_on(
    settings: Settings, store: Store, shipped: tuple[Path, str]
) -> None:
    folder, version = shipped
    registry = Registry(settings, store, folder)
    assert registry.roll_back(Expert.REASONER, "ann") == Moved(expert=Expert.REASONER, before=version, now=None)
    assert registry.live() == {}
    assert registry.promote(version, "ann").before is None
    assert registry.live_versions() == {Expert.REASONER: version}


def test_an_optional_adapter_that_comes_with_whylike_answers_only_when_it_is_promoted(
    settings: Settings, store: Store, shipped: tuple[Path, str], tmp_path: Path
) -> None:
    _, version = shipped
    folder = tmp_path / "shipped" / OPTIONAL
    folder.mkdir()
    (tmp_path / "shipped" / version).rename(folder / version)
    registry = Registry(settings, store, tmp_path / "shipped")
    assert [(entry.live, entry.shipped) for entry in registry.entries()] == [(False, True)]
    assert registry.live() == {}
    with pytest.raises(UsageError, match="the base model alone"):
        registry.roll_back(Expert.REASONER, "ann")
    assert registry.promote(version, "ann") == Moved(expert=Expert.REASONER, before=None, now=version)
    shutil.rmtree(folder)
    assert Registry(settings, store, tmp_path / "shipped").live_versions() == {Expert.REASONER: version}
    assert registry.roll_back(Expert.REASONER, "ann").now is None


def test_an_adapter_that_comes_with_whylike_is_for_its_own_base_model_only(
    settings: Settings, store: Store, shipped: tuple[Path, str], other_base: Path
) -> None:
    for changes in ({"model": str(other_base)}, {"engine": "scripted"}, {"model": "no/such-model"}):
        assert Registry(settings.model_copy(update=changes), store, shipped[0]).live() == {}


def test_a_killed_add_leaves_nothing_that_stays(registry: Registry, added: Callable[..., str]) -> None:
    (registry.folder / PARTIAL).mkdir(parents=True)
    (registry.folder / PARTIAL / "stray").touch()
    version = added(Expert.REASONER, 1)
    assert {path.name for path in registry.folder.iterdir()} == {version}
    assert {path.name for path in (registry.folder / version).iterdir()} == {*PARTS, CARD}


def test_a_disk_that_is_full_is_told_and_nothing_is_kept(
    registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("whylike.adapters.registry.registry._flush", full)
        with pytest.raises(StoreError, match=r"could not be kept in .*No space left on device.*; make room"):
            registry.add(copy("one"), made(Expert.REASONER))
    assert registry.entries() == []
    assert list(registry.folder.iterdir()) == []


def test_a_base_model_is_known_by_its_weights_wherever_it_lies(tiny: Path, other_base: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny, tmp_path / "moved")
    (moved / "model.safetensors").rename(moved / "renamed.safetensors")
    (moved / "config.json").write_text("{}")
    prints = [base_fingerprint(Settings(model=str(folder))) for folder in (tiny, moved, other_base)]
    assert prints[0] == prints[1] != prints[2]
    assert base_fingerprint(Settings(model=str(tmp_path))) is None
    assert base_fingerprint(Settings(model="no/such-model")) is None
    assert len(base_fingerprint(Settings()) or "") == 64


def test_a_fingerprint_is_of_the_parts_names_and_contents(tmp_path: Path) -> None:
    def made(name: str, config: str, weights: str, **others: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        for path, content in {CONFIG: config, WEIGHTS: weights, **others}.items():
            (folder / path).write_text(content)
        return fingerprint(folder)

    prints = [made("a", "1", "2"), made("b", "12", ""), made("c", "", "12"), made("d", "2", "1")]
    assert len(set(prints)) == 4
    assert made("e", "1", "2", **{CARD: "{}", "README.md": "x"}) == prints[0]
