"""What the registry refuses, each in one sentence and before anything is kept."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from whylike.adapters.engines.base import Adapter
from whylike.adapters.registry.checks import SERVED
from whylike.adapters.registry.identity import CARD, CONFIG, WEIGHTS, base_fingerprint
from whylike.adapters.registry.registry import Registry, card_of
from whylike.errors import EngineError, InputError, StoreError
from whylike.memory.store import Store
from whylike.records import Expert, Provenance
from whylike.settings import Settings

PLAIN = ("peft_type", "task_type", "init_lora_weights", "bias", "use_dora", "modules_to_save")

Change = Callable[[Path], None]


def config(**changes: object) -> Change:
    """Writes other settings into the configuration."""

    def change(folder: Path) -> None:
        told = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(told | changes))

    return change


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    """The weights, apart from their file, which may be written anew."""
    return {name: weight.clone() for name, weight in load_file(folder / WEIGHTS).items()}


def tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Change:
    """Changes the weights."""

    def changed(folder: Path) -> None:
        weights = loaded(folder)
        change(weights)
        save_file(weights, folder / WEIGHTS)

    return changed


def content(make: Callable[[bytes], bytes], name: str = WEIGHTS) -> Change:
    """Makes other bytes of a file's."""
    return lambda folder: (folder / name).write_bytes(make((folder / name).read_bytes())) and None


def more(name: str, text: str = "") -> Change:
    """Adds a file."""

    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return change


def linked_out(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "elsewhere")
    (folder / WEIGHTS).symlink_to(folder.parent / "elsewhere")


def linked_folder(folder: Path) -> None:
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/etc", target_is_directory=True)


def pipe(folder: Path) -> None:
    """Whoever reads it waits for ever."""
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


def torch_saved(folder: Path) -> None:
    torch.save(loaded(folder), folder / WEIGHTS)


def rank(folder: Path) -> None:
    def wider(weights: dict[str, torch.Tensor]) -> None:
        for name, weight in weights.items():
            weights[name] = weight.repeat(2, 1) if "lora_A" in name else weight.repeat(1, 2)

    tensors(wider)(folder)


def one_side(weights: dict[str, torch.Tensor]) -> None:
    name = min(name for name in weights if "lora_A" in name)
    weights[name] = weights[name].repeat(2, 1)


def not_a_number(weights: dict[str, torch.Tensor]) -> None:
    weights[max(weights)][0, 0] = float("nan")


def lacking(weights: dict[str, torch.Tensor]) -> None:
    del weights[max(weights)]


def stranger(weights: dict[str, torch.Tensor]) -> None:
    weights["base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"] = torch.ones(16)


def deeper(weights: dict[str, torch.Tensor]) -> None:
    for name in [name for name in weights if ".layers.1." in name]:
        weights[name.replace(".layers.1.", ".layers.2.")] = weights[name].clone()


def whole_numbers(weights: dict[str, torch.Tensor]) -> None:
    name = max(weights)
    weights[name] = weights[name].to(torch.int8)


def trained(base: dict[str, object], **changes: object) -> Change:
    """Puts an adapter of another model in its place."""

    def change(folder: Path) -> None:
        usual = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
        model = LlamaForCausalLM(LlamaConfig(**usual | {"intermediate_size": 32, "num_key_value_heads": 2} | base))
        lora = LoraConfig(**{"r": 4, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"} | changes)
        get_peft_model(model, lora).save_pretrained(folder)

    return change


REFUSED: dict[str, tuple[Change, str]] = {
    # corrupt or truncated
    "empty weights": (content(lambda data: b""), "damaged adapter_model.safetensors"),
    "truncated weights": (content(lambda data: data[:-1]), "damaged adapter_model.safetensors"),
    "truncated head": (content(lambda data: data[:50]), "damaged adapter_model.safetensors"),
    "longer weights": (content(lambda data: data + b"\0"), "damaged adapter_model.safetensors"),
    "endless head": (content(lambda data: struct.pack("<Q", 2**62) + data[8:]), "damaged adapter_model.safetensors"),
    "damaged head": (content(lambda data: data[:9] + b"}" + data[10:]), "damaged adapter_model.safetensors"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "has no adapter_model.safetensors"),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), "has no adapter_config.json"),
    "damaged configuration": (content(lambda data: data[:-9], CONFIG), "damaged adapter_config.json"),
    "configuration not UTF-8": (content(lambda data: b"\xff\xfe\xff", CONFIG), "damaged adapter_config.json"),
    "deep configuration": (content(lambda data: b"[" * 10**5, CONFIG), "damaged adapter_config.json"),
    "huge configuration": (content(lambda data: data + b" " * 2**20, CONFIG), "damaged adapter_config.json"),
    "list as configuration": (content(lambda data: b"[]", CONFIG), "damaged adapter_config.json"),
    "not a number": (tensors(not_a_number), "not finite numbers"),
    "whole numbers": (tensors(whole_numbers), "weights of the type I8"),
    # another base model
    "narrower base": (trained({"hidden_size": 8}), r"weights of .* by .* where the base model needs"),
    "deeper base": (tensors(deeper), r"weights for .*layers\.2.*, where the base model .* has no place"),
    "other modules": (config(target_modules=["c_attn"]), "does not fit the base model"),
    "other architecture": (trained({}, target_modules=["embed_tokens"]), "adapts .*embed_tokens"),
    "output layer": (trained({}, target_modules=["lm_head"]), "adapts .*lm_head"),
    "lacking": (tensors(lacking), r"lacks the weights .*, which its configuration promises"),
    # rank
    "other rank": (rank, r"weights of rank 8 .* where its configuration says 4"),
    "one side of another rank": (tensors(one_side), r"weights of rank 8 .* where its configuration says 4"),
    "configuration of another rank": (config(r=2), r"weights of rank 4 .* where its configuration says 2"),
    "pattern of another rank": (config(rank_pattern={"v_proj": 3}), r"rank 4 .* where its configuration says 3"),
    "rank above the limit": (config(r=129), "rank 129, and at most 128 is allowed; .*set max_rank"),
    "pattern above the limit": (config(rank_pattern={"x": 999}), "rank 999, and at most 128"),
    "rank nought": (config(r=0), "rank 0, which is not a whole number above 0"),
    "rank as text": (config(r="4"), "rank '4', which is not a whole number"),
    "rank missing": (config(r=None), "rank None, which is not a whole number"),
    "scale nought": (config(lora_alpha=0), "has the scale 0"),
    "scale that is none": (config(lora_alpha=float("nan")), "has the scale nan"),
    "huge scale": (config(alpha_pattern={"x": 10**30}), "has the scale 1000"),
    "pattern as list": (config(rank_pattern=[8]), "damaged adapter_config.json"),
    "pattern that is no expression": (config(rank_pattern={"(": 4}), "does not fit the base model"),
    # code
    "adapter_model.bin": (more("adapter_model.bin"), "holds adapter_model.bin, which can run code"),
    "training_args.bin": (more("training_args.bin"), "holds training_args.bin, which can run code"),
    "state.pt": (more("state.pt"), "holds state.pt, which can run code"),
    "a.pkl": (more("a.PKL"), "holds a.PKL, which can run code"),
    "pickle in a folder": (more("deep/optimizer.pt"), "holds deep.*; remove it"),
    "pickle under the name": (content(lambda data: pickle.dumps({"a": [1] * 99})), "really a pickle"),
    "torch's pickle under the name": (torch_saved, "really a pickle"),
    # what does not belong
    "another file": (
        more("tokenizer.json"),
        "holds tokenizer.json, which is no part .*; allowed are README.md, adapter",
    ),
    "hidden file": (more(".hidden"), "holds .hidden, which is no part"),
    "a folder": (more("checkpoint-1/x.txt"), "holds checkpoint-1, which is no part"),
    "link out": (linked_out, r"a link that leads out of it \(adapter_model.safetensors\)"),
    "link to a folder": (linked_folder, r"a link that leads out of it \(README.md\)"),
    "pipe": (pipe, "holds adapter_model.safetensors, which is not a plain file"),
    # more than plain LoRA
    "DoRA": (config(use_dora=True), "uses use_dora, which not every engine can serve"),
    "DoRA in the weights": (tensors(stranger), "weights for .*lora_magnitude_vector"),
    "whole modules": (config(modules_to_save=["lm_head"]), "uses modules_to_save, which"),
    "biases": (config(bias="all"), r"trains biases \(bias = 'all'\)"),
    "LoRA biases": (config(lora_bias=True), "uses lora_bias"),
    "PiSSA": (config(init_lora_weights="pissa"), r"changing the base model \(init_lora_weights = 'pissa'\)"),
    "aLoRA": (config(alora_invocation_tokens=[1]), "uses alora_invocation_tokens"),
    "replicated layers": (config(layer_replication=[[0, 1]]), "uses layer_replication"),
    "tokens": (config(trainable_token_indices=[1]), "uses trainable_token_indices"),
    "of the future": (config(some_new_variant={"a": 1}), "uses some_new_variant"),
    "another method": (config(peft_type="IA3"), "of the type 'IA3'|is of type 'IA3', not LORA"),
    "another task": (config(task_type="SEQ_CLS"), "for the task 'SEQ_CLS'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_adapter_of_the_base_model_is_refused(
    registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance], name: str
) -> None:
    change, told = REFUSED[name]
    folder = copy("it")
    change(folder)
    with pytest.raises(InputError, match=told) as caught:
        registry.add(folder, made(Expert.SUMMARIZER))
    said = str(caught.value)
    assert said.startswith(f"the adapter {folder} ")
    assert "; " in said, "it must say how to mend it"
    assert "\n" not in said
    assert registry.entries() == []
    assert not registry.folder.exists() or not list(registry.folder.iterdir())


def test_a_folder_that_is_none_is_refused(registry: Registry, tmp_path: Path, made: Callable[..., Provenance]) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        with pytest.raises(InputError, match=rf"{name} is not a folder; give a folder with adapter_config.json"):
            registry.add(tmp_path / name, made(Expert.SUMMARIZER))


def test_an_adapter_trained_on_other_weights_of_the_same_shape_is_refused_by_its_card(
    registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance], other_base: Path, tiny: Path
) -> None:
    told = made(Expert.SUMMARIZER, base_hash=base_fingerprint(Settings(model=str(other_base))))
    with pytest.raises(
        InputError, match=r"trained on another base model \(hash .*\) than setting model names \(.*hash"
    ):
        registry.add(copy("it"), told)
    right = made(Expert.SUMMARIZER, base_hash=base_fingerprint(Settings(model=str(tiny))))
    assert registry.add(copy("again"), right)


def test_a_damaged_card_is_refused(copy: Callable[..., Path]) -> None:
    folder = copy("it")
    assert card_of(folder) is None
    for text in ("", "{}", '{"version": 1}', "\ud800"):
        (folder / CARD).write_text(text, encoding="utf-8", errors="surrogatepass")
        with pytest.raises(InputError, match=r"has a damaged card.json; remove that file"):
            card_of(folder)


def test_links_inside_the_folder_become_files(
    registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance]
) -> None:
    """The hub's own folders hold links, whose targets people move along."""
    plain, linked = copy("plain"), copy("linked")
    (linked / WEIGHTS).rename(linked / "README.md")
    (linked / WEIGHTS).symlink_to("README.md")
    version = registry.add(linked, made(Expert.SUMMARIZER))
    assert not (registry.folder / version / WEIGHTS).is_symlink()
    assert registry.add(plain, made(Expert.SUMMARIZER)) == version


def test_the_limit_of_ranks_is_a_setting(
    settings: Settings, store: Store, copy: Callable[..., Path], made: Callable[..., Provenance]
) -> None:
    strict = Registry(settings.model_copy(update={"max_rank": 3}), store)
    with pytest.raises(InputError, match="rank 4, and at most 3 is allowed"):
        strict.add(copy("it"), made(Expert.SUMMARIZER))


def test_without_the_base_model_nothing_can_be_added(
    settings: Settings, store: Store, copy: Callable[..., Path], made: Callable[..., Provenance], tmp_path: Path
) -> None:
    bare = Registry(settings.model_copy(update={"model": str(tmp_path / "none")}), store)
    with pytest.raises(EngineError, match=r"none' is not here to compare an adapter with .*; set model to a folder"):
        bare.add(copy("it"), made(Expert.SUMMARIZER))


def test_what_cannot_be_read_is_told(
    registry: Registry, copy: Callable[..., Path], made: Callable[..., Provenance], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy("it")
    opened = Path.open

    def refused(path: Path, *args: object, **kwargs: object) -> object:
        if path.is_relative_to(folder):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\); give a folder"):
        registry.add(folder, made(Expert.SUMMARIZER))


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_no_damage_to_the_weights_passes_for_another_adapter(
    data: st.DataObject, registry: Registry, adapters: dict[Expert, Adapter], made: Callable[..., Provenance], copy
) -> None:
    """Whatever bytes change: a refusal in one sentence, or an adapter whose name says that it is another."""
    folder = adapters[Expert.SUMMARIZER].folder
    good = registry.add(folder, made(Expert.SUMMARIZER))
    whole = (folder / WEIGHTS).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 400))
    with_ = data.draw(st.binary(min_size=1, max_size=8) | st.just(b""))
    damaged = whole[:at] + with_ + whole[at + len(with_) :] if with_ else whole[:at]
    bad = copy("it")
    (bad / WEIGHTS).write_bytes(damaged)
    try:
        version = registry.add(bad, made(Expert.SUMMARIZER))
    except (InputError, StoreError) as error:
        assert "\n" not in str(error)
    else:
        assert (version == good) == (damaged == whole)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    changes=st.dictionaries(
        st.sampled_from([*SERVED, *PLAIN]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-3, 10**30) | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
            max_leaves=4,
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_no_configuration_fails_in_any_other_way(
    changes: dict[str, object],
    registry: Registry,
    copy: Callable[..., Path],
    made: Callable[..., Provenance],
) -> None:
    folder = copy("it", **changes)
    try:
        registry.add(folder, made(Expert.SUMMARIZER))
    except InputError as error:
        assert "\n" not in str(error)
